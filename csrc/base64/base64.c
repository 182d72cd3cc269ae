/* base64 after RFC 4648: checks, ends of texts, and the scalar kernels. */
#include "base64/iwp_base64.h"

#include <string.h>

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"
#include "common/iwp_table.h"
#include "include/iw_api.h"

/*
 * The bits of a character of each place of a group, where they stand in the group's three bytes
 * read as a little-endian word; the mark when it is outside the alphabet.
 *
 *   byte 2     byte 1     byte 0
 *   ccdddddd   bbbbcccc   aaaaaabb
 */
#define OUTSIDE_MARK 0x80000000u
#define PLACED(character, bits)                                                                \
    (IWP_BASE64_VALUE(character) == IWP_BASE64_OUTSIDE ? OUTSIDE_MARK : (uint32_t)(bits))
#define V(character) IWP_BASE64_VALUE(character)
#define AS_A(character) PLACED(character, V(character) << 2)
#define AS_B(character) PLACED(character, V(character) >> 4 | (V(character) & 15) << 12)
#define AS_C(character) PLACED(character, V(character) >> 2 << 8 | (V(character) & 3) << 22)
#define AS_D(character) PLACED(character, V(character) << 16)

static const uint32_t as_a[256] = {IWP_TABLE_256(AS_A)};
static const uint32_t as_b[256] = {IWP_TABLE_256(AS_B)};
static const uint32_t as_c[256] = {IWP_TABLE_256(AS_C)};
static const uint32_t as_d[256] = {IWP_TABLE_256(AS_D)};

IWP_INLINE int is_outside(uint8_t character)
{
    return as_a[character] == OUTSIDE_MARK;
}

/* The three bytes of a group as a little-endian word, or one with the mark. */
IWP_INLINE uint32_t group_bytes(const uint8_t *src)
{
    return as_a[src[0]] | as_b[src[1]] | as_c[src[2]] | as_d[src[3]];
}

size_t iwp_base64_decode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at;
    uint32_t bytes;

    for (at = 0; src_bytes - at >= 8; at += 4, dst += 3) {
        bytes = group_bytes(src + at);
        if (bytes & OUTSIDE_MARK)
            return at;
        memcpy(dst, &bytes, 4); /* the next group replaces the fourth */
    }
    if (src_bytes - at < 4)
        return at;
    bytes = group_bytes(src + at);
    if (bytes & OUTSIDE_MARK)
        return at;
    memcpy(dst, &bytes, 3);
    return at + 4;
}

/* Two characters for each 12 bits, the first one in the low byte. */
#define PAIR(bits)                                                                             \
    (uint16_t)(IWP_BASE64_CHARACTER((bits) >> 6) | IWP_BASE64_CHARACTER((bits) & 63) << 8)

static const uint16_t pair_of[4096] = {IWP_TABLE_4096(PAIR)};

IWP_INLINE void encode_group(uint8_t *dst, uint32_t bits)
{
    memcpy(dst, &pair_of[bits >> 12], 2);
    memcpy(dst + 2, &pair_of[bits & 4095], 2);
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
    const uint32_t decoded = group_bytes(whole);

    /* Bits above the last byte must be clear; the mark is one of them. */
    if (bytes > dst_bytes || decoded >> 8 * bytes != 0)
        return 0;
    memcpy(dst, &decoded, bytes);
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
    return (as_a[src[first - 1]] >> 2) & (in_group == 2 ? 0x0f : 0x03) ? IW_BAD_BITS : IW_OK;
}

enum iw_status iw_base64_fault(size_t *position, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    while (at < src_bytes && !is_outside(src[at]))
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
