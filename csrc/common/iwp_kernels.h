/* The kernels of each level, and the choice of a level. Included by <area>/<area>.c. */
#ifndef IWP_KERNELS_H
#define IWP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "common/iwp_atomic.h"
#include "common/iwp_compiler.h"

/*
 * There is one constant row for each level. If a level has no kernel of its own, its row has
 * the kernel of a lower level, so no pointer of a supported level is NULL. The header of each
 * area describes its kernels.
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
    void (*pcm_gain_s16)(uint8_t *dst, const uint8_t *src, size_t samples, float gain);
    void (*pcm_mix_s16)(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);
    uint32_t (*pcm_peak_s16)(const uint8_t *src, size_t samples);
    uint64_t (*pcm_energy_s16)(const uint8_t *src, size_t samples);
    void (*ws_mask)(uint8_t *dst, const uint8_t *src, size_t bytes, uint32_t key);
};

/*
 * The row in use; NULL until the first call. This pointer is the only global variable of the
 * core. Read the pointer with iwp_kernels_active().
 */
extern struct iwp_pointer iwp_kernels_row;

/* Select the best row and return it. Threads that race here all store the same pointer. */
const struct iwp_kernels *iwp_kernels_choose(void);

/*
 * Return the row in use, never NULL. Every kernel call needs the row, so this function is
 * inline.
 */
static inline const struct iwp_kernels *iwp_kernels_active(void)
{
    const struct iwp_kernels *row = iwp_load_pointer(&iwp_kernels_row);

    return IWP_LIKELY(row != NULL) ? row : iwp_kernels_choose();
}

#endif
