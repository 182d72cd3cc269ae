/*
 * Decodes base64 inside longer texts, and declares the kernels. Included by base64*.c, split/
 * and iwp_kernels.c.
 */
#ifndef IWP_BASE64_H
#define IWP_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* The result of iwp_base64_decode_until. */
struct iwp_base64_span {
    size_t read_bytes;    /* characters of src that were decoded */
    size_t written_bytes; /* bytes written to dst */
};

/*
 * Decode the base64 text at the start of src. The text ends before the first character that
 * does not belong to the text, for example the quote after a text inside JSON.
 *
 * A padded last group belongs to the text if it is strictly valid (RFC 4648 section 4). A group
 * that is cut, has wrong padding or contains an escape does not belong to the text. The caller
 * must check src[read_bytes]: if this is not the expected character, the text is not plain
 * base64.
 *
 * dst        out; the bytes from written_bytes to dst_bytes are undefined
 * dst_bytes  the size of dst; decoding stops after the last group that fits
 * src        in, the text and the bytes after it
 *
 * Cannot fail. Both counts are zero if the first group does not fit or is invalid. Thread-safe.
 */
struct iwp_base64_span iwp_base64_decode_until(uint8_t *dst, size_t dst_bytes,
                                               const uint8_t *src, size_t src_bytes);

/*
 * Decode groups of four characters, and a last group of two or three, up to the first group
 * with a character outside the alphabet ('=' is outside).
 *
 * dst        out, three bytes for each group, one or two for a cut last group. If all of src is
 *            decoded, nothing is written after these bytes. Otherwise, all
 *            src_bytes / 4 * 3 bytes of dst may be overwritten
 * src        in
 * src_bytes  src_bytes % 4 must not be 1
 *
 * Returns the count of characters decoded: src_bytes, or a smaller multiple of four.
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

/* The alphabet in both directions, for tables. Source: RFC 4648, table 1. */
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
