/*
 * Conversions into a buffer that is kept for many of them. Included by kept/, and read by
 * build_ffi.py as iw_api.h is, whose rules hold here too.
 */
#ifndef IW_KEPT_H
#define IW_KEPT_H

#include "include/iw_api.h"

/* cffi: begin */

/* ---- kept buffers ------------------------------------------------------------------------ */

/* Where conversions write, one after the other, each from its front on. */
struct iw_kept {
    uint8_t *memory;
    size_t room_bytes;
};

/*
 * What the function of the same name does. From Python, each argument and each sum of a call
 * costs about as much as 160 samples do, so these take three and check the sizes themselves.
 *
 * Each returns the bytes written, or IW_NO_ROOM; and IW_BAD_LENGTH for samples that are cut, or
 * what iw_base64_decode refuses a text with.
 */
ptrdiff_t iw_kept_base64_decode(const struct iw_kept *out, const uint8_t *src,
                                size_t src_bytes);
ptrdiff_t iw_kept_base64_encode(const struct iw_kept *out, const uint8_t *src,
                                size_t src_bytes);
ptrdiff_t iw_kept_g711_decode_ulaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes);
ptrdiff_t iw_kept_g711_decode_alaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes);
ptrdiff_t iw_kept_g711_encode_ulaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes);
ptrdiff_t iw_kept_g711_encode_alaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes);
ptrdiff_t iw_kept_pcm_f32_from_s16(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes);
ptrdiff_t iw_kept_pcm_s16_from_f32(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes);
ptrdiff_t iw_kept_pcm_swap_s16(const struct iw_kept *out, const uint8_t *src, size_t src_bytes);

/* cffi: end */

#endif
