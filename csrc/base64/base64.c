/* base64 after RFC 4648: checks, ends of texts, and the scalar kernels. */
#include "base64/iwp_base64.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "include/iw_api.h"

/* Six-bit value of a character, or 0xff. */
#define XX 0xff
static const uint8_t value_of[256] = {
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* 00 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* 10 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, 62, XX, XX, XX, 63, /* 20 + / */
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, XX, XX, XX, XX, XX, XX, /* 30 0-9 */
    XX, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, /* 40 A-O */
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, XX, XX, XX, XX, XX, /* 50 P-Z */
    XX, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, /* 60 a-o */
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, XX, XX, XX, XX, XX, /* 70 p-z */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* 80 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* 90 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* a0 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* b0 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* c0 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* d0 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* e0 */
    XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, XX, /* f0 */
};
#undef XX

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The 24 bits of a group, first character highest; above 2^24 when one is outside. */
IWP_INLINE uint32_t group_bits(const uint8_t *src)
{
    const uint32_t a = value_of[src[0]], b = value_of[src[1]];
    const uint32_t c = value_of[src[2]], d = value_of[src[3]];

    /* The mark 0xff has bit 7, which no value has. */
    return a << 18 | b << 12 | c << 6 | d | ((a | b | c | d) & 0x80u) << 24;
}

size_t iwp_base64_decode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at;

    for (at = 0; src_bytes - at >= 4; at += 4) {
        const uint32_t bits = group_bits(src + at);

        if (bits >> 31)
            break;
        *dst++ = (uint8_t)(bits >> 16);
        *dst++ = (uint8_t)(bits >> 8);
        *dst++ = (uint8_t)bits;
    }
    return at;
}

IWP_INLINE void encode_group(uint8_t *dst, uint32_t bits)
{
    dst[0] = (uint8_t)alphabet[bits >> 18];
    dst[1] = (uint8_t)alphabet[bits >> 12 & 63];
    dst[2] = (uint8_t)alphabet[bits >> 6 & 63];
    dst[3] = (uint8_t)alphabet[bits & 63];
}

void iwp_base64_encode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at;

    for (at = 0; at < src_bytes; at += 3, dst += 4)
        encode_group(dst, (uint32_t)src[at] << 16 | (uint32_t)src[at + 1] << 8 | src[at + 2]);
}

/*
 * Decode a last group, which ends in one or two '='. Returns the bytes written: 0 when the
 * group is not right or they do not fit.
 */
static size_t decode_padded_group(uint8_t *dst, size_t dst_bytes, const uint8_t *src)
{
    const size_t bytes = src[2] == '=' ? 1 : 2;
    const uint8_t whole[4] = {src[0], src[1], bytes == 1 ? 'A' : src[2], 'A'};
    const uint32_t bits = group_bits(whole);

    /* Bits below the last byte must be clear. */
    if (bytes > dst_bytes || bits >> 31 || bits & (0xffffu >> (bytes - 1) * 8))
        return 0;
    dst[0] = (uint8_t)(bits >> 16);
    if (bytes == 2)
        dst[1] = (uint8_t)(bits >> 8);
    return bytes;
}

struct iwp_base64_span iwp_base64_decode_until(uint8_t *dst, size_t dst_bytes,
                                               const uint8_t *src, size_t src_bytes)
{
    const size_t room_groups = dst_bytes / 3;
    const size_t fitting = src_bytes / 4 < room_groups ? src_bytes : room_groups * 4;
    const size_t read = iwp_kernels_active()->base64_decode(dst, src, fitting);
    struct iwp_base64_span span = {read, read / 4 * 3};
    size_t last;

    if (src_bytes - read < 4 || src[read + 3] != '=')
        return span;
    last = decode_padded_group(dst + span.written_bytes, dst_bytes - span.written_bytes,
                               src + read);
    if (last != 0)
        span.read_bytes += 4;
    span.written_bytes += last;
    return span;
}

ptrdiff_t iw_base64_decode(uint8_t *dst, size_t dst_bytes, const uint8_t *src, size_t src_bytes)
{
    const int padded = src_bytes >= 4 && src[src_bytes - 1] == '=';
    const size_t padding = padded ? 1u + (src[src_bytes - 2] == '=') : 0;
    struct iwp_base64_span span;
    size_t position;

    if (src_bytes % 4 != 0)
        return iw_base64_fault(&position, src, src_bytes);
    if (src_bytes / 4 * 3 - padding > dst_bytes)
        return IW_NO_ROOM;
    span = iwp_base64_decode_until(dst, dst_bytes, src, src_bytes);
    if (span.read_bytes != src_bytes)
        return iw_base64_fault(&position, src, src_bytes);
    return (ptrdiff_t)span.written_bytes;
}

/* The fault of a text whose first character outside the alphabet is the '=' at `first`. */
static enum iw_status padding_fault(size_t *position, const uint8_t *src, size_t src_bytes,
                                    size_t first)
{
    const size_t in_group = first % 4;

    *position = first;
    if (in_group < 2 || src_bytes != first + 4 - in_group || src[src_bytes - 1] != '=')
        return IW_BAD_PADDING;
    *position = first - 1;
    return value_of[src[first - 1]] & (in_group == 2 ? 0x0f : 0x03) ? IW_BAD_BITS : IW_OK;
}

enum iw_status iw_base64_fault(size_t *position, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    while (at < src_bytes && value_of[src[at]] != 0xff)
        at++;
    if (at < src_bytes && src[at] == '=')
        return padding_fault(position, src, src_bytes, at);
    *position = at;
    if (at < src_bytes)
        return IW_BAD_CHARACTER;
    return src_bytes % 4 == 0 ? IW_OK : IW_BAD_LENGTH;
}

ptrdiff_t iw_base64_encode(uint8_t *dst, size_t dst_bytes, const uint8_t *src, size_t src_bytes)
{
    const size_t rest = src_bytes % 3;
    const size_t whole_bytes = src_bytes - rest;
    const size_t groups = src_bytes / 3 + (rest != 0);
    uint8_t *last;

    if (groups > dst_bytes / 4)
        return IW_NO_ROOM;
    iwp_kernels_active()->base64_encode(dst, src, whole_bytes);
    if (rest != 0) {
        last = dst + whole_bytes / 3 * 4;
        encode_group(last, (uint32_t)src[whole_bytes] << 16 |
                               (rest == 2 ? (uint32_t)src[whole_bytes + 1] << 8 : 0));
        memset(last + rest + 1, '=', 3 - rest);
    }
    return (ptrdiff_t)(groups * 4);
}
