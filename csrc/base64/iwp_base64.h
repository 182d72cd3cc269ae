/* base64 kernels. Included by base64*.c and by iwp_kernels.c. */
#ifndef IWP_BASE64_H
#define IWP_BASE64_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decode groups of four characters until one holds a character outside the alphabet ('=' is
 * outside), or fewer than four are left.
 *
 * dst        out, three bytes a group; all of src_bytes / 4 * 3 bytes may be written
 * src        in
 *
 * Returns the characters decoded, a multiple of four.
 */
size_t iwp_base64_decode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes);

/*
 * Encode whole groups of three bytes.
 *
 * dst        out, src_bytes / 3 * 4 characters
 * src        in
 * src_bytes  a multiple of three
 */
void iwp_base64_encode_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes);

#endif
