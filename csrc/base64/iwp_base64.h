/* base64 in longer texts, and its kernels. Included by base64*.c, split/ and iwp_kernels.c. */
#ifndef IWP_BASE64_H
#define IWP_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* How far a decoding came. */
struct iwp_base64_span {
    size_t read_bytes;    /* characters taken from src */
    size_t written_bytes; /* bytes put at dst */
};

/*
 * Decode the base64 text at the front of src, up to the first character that does not belong to
 * it: the quote behind a text inside JSON, for example.
 *
 * A padded last group belongs to the text when it is strictly right (RFC 4648 section 4). A
 * group that is cut, wrongly padded or holds an escape does not, so src[read_bytes] tells what
 * ended the text: anything but the expected character means that it needs a closer look.
 *
 * dst        out; bytes behind the written ones and within dst_bytes are undefined
 * dst_bytes  the room at dst; decoding stops at the last group that fits whole
 * src        in, the text and what follows it
 *
 * Never fails; both counts are zero when no group fits or none is right. Thread-safe.
 */
struct iwp_base64_span iwp_base64_decode_until(uint8_t *dst, size_t dst_bytes,
                                               const uint8_t *src, size_t src_bytes);

/*
 * Decode groups of four characters, and a cut last one of two or three, up to the first group
 * that holds a character outside the alphabet ('=' is outside).
 *
 * dst        out, three bytes a group, one or two of a cut one. When all is decoded nothing is
 *            written behind them; when not, all of src_bytes / 4 * 3 bytes may be
 * src        in
 * src_bytes  not one more than a multiple of four
 *
 * Returns the characters decoded: src_bytes, or a multiple of four below it.
 */
size_t iwp_base64_decode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes);
size_t iwp_base64_decode_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes);
size_t iwp_base64_decode_avx512(uint8_t *dst, const uint8_t *src, size_t src_bytes);
size_t iwp_base64_decode_neon(uint8_t *dst, const uint8_t *src, size_t src_bytes);

/*
 * Encode whole groups of three bytes.
 *
 * dst        out, src_bytes / 3 * 4 characters
 * src        in
 * src_bytes  a multiple of three
 */
void iwp_base64_encode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes);
void iwp_base64_encode_avx2(uint8_t *dst, const uint8_t *src, size_t src_bytes);
void iwp_base64_encode_avx512(uint8_t *dst, const uint8_t *src, size_t src_bytes);
void iwp_base64_encode_neon(uint8_t *dst, const uint8_t *src, size_t src_bytes);

/* The alphabet both ways, for tables. Source: RFC 4648, table 1. */
#define IWP_BASE64_OUTSIDE 0x80
#define IWP_BASE64_VALUE(character)                                                            \
    (uint8_t)((character) >= 'A' && (character) <= 'Z'   ? (character) - 'A'                   \
              : (character) >= 'a' && (character) <= 'z' ? (character) - 'a' + 26              \
              : (character) >= '0' && (character) <= '9' ? (character) - '0' + 52              \
              : (character) == '+'                       ? 62                                  \
              : (character) == '/'                       ? 63                                  \
                                                         : IWP_BASE64_OUTSIDE)
#define IWP_BASE64_CHARACTER(value)                                                            \
    (uint8_t)((value) < 26    ? (value) + 'A'                                                  \
              : (value) < 52  ? (value) - 26 + 'a'                                             \
              : (value) < 62  ? (value) - 52 + '0'                                             \
              : (value) == 62 ? '+'                                                            \
                              : '/')

#endif
