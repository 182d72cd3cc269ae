/* The row of kernels of each level, and the choice among them. Included by <area>/<area>.c. */
#ifndef IWP_KERNELS_H
#define IWP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * One constant row a level. A row names a lower level's kernel where it has none of its own, so
 * no pointer is NULL. The contract of each kernel stands in the header of its area.
 */
struct iwp_kernels {
    int level; /* enum iw_level */
    size_t (*base64_decode)(uint8_t *dst, const uint8_t *src, size_t src_bytes);
    void (*base64_encode)(uint8_t *dst, const uint8_t *src, size_t src_bytes);
    void (*g711_decode_ulaw)(uint8_t *dst, const uint8_t *src, size_t samples);
    void (*g711_decode_alaw)(uint8_t *dst, const uint8_t *src, size_t samples);
    void (*g711_encode_ulaw)(uint8_t *dst, const uint8_t *src, size_t samples);
    void (*g711_encode_alaw)(uint8_t *dst, const uint8_t *src, size_t samples);
    void (*pcm_f32_from_s16)(uint8_t *dst, const uint8_t *src, size_t samples);
    void (*pcm_s16_from_f32)(uint8_t *dst, const uint8_t *src, size_t samples);
    void (*pcm_swap_s16)(uint8_t *dst, const uint8_t *src, size_t samples);
};

/* The row in use. One atomic load; never NULL. */
const struct iwp_kernels *iwp_kernels_active(void);

#endif
