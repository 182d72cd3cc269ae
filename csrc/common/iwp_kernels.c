/* The rows of kernels, and the atomic pointer to the row in use. */
#include "common/iwp_kernels.h"

#include "base64/iwp_base64.h"
#include "common/iwp_compiler.h"
#include "common/iwp_cpu.h"
#include "g711/iwp_g711.h"
#include "include/iw_api.h"
#include "pcm/iwp_pcm.h"
#include "ws/iwp_ws.h"

/* A level that is not built has an empty row. iwp_cpu_runs() returns 0 for such a level. */
static const struct iwp_kernels rows[IW_LEVEL_COUNT] = {
    [IW_LEVEL_SCALAR] =
        {
            .level = IW_LEVEL_SCALAR,
            .base64_decode = iwp_base64_decode_scalar,
            .base64_encode = iwp_base64_encode_scalar,
            .g711_decode_ulaw = iwp_g711_decode_ulaw_scalar,
            .g711_decode_alaw = iwp_g711_decode_alaw_scalar,
            .g711_encode_ulaw = iwp_g711_encode_ulaw_scalar,
            .g711_encode_alaw = iwp_g711_encode_alaw_scalar,
            .pcm_f32_from_s16 = iwp_pcm_f32_from_s16_scalar,
            .pcm_s16_from_f32 = iwp_pcm_s16_from_f32_scalar,
            .pcm_gain_s16 = iwp_pcm_gain_s16_scalar,
            .pcm_mix_s16 = iwp_pcm_mix_s16_scalar,
            .pcm_peak_s16 = iwp_pcm_peak_s16_scalar,
            .pcm_energy_s16 = iwp_pcm_energy_s16_scalar,
            .ws_mask = iwp_ws_mask_scalar,
        },
#if IWP_HAVE_X86
    [IW_LEVEL_AVX2] =
        {
            .level = IW_LEVEL_AVX2,
            .base64_decode = iwp_base64_decode_avx2,
            .base64_encode = iwp_base64_encode_avx2,
            .g711_decode_ulaw = iwp_g711_decode_ulaw_avx2,
            .g711_decode_alaw = iwp_g711_decode_alaw_avx2,
            .g711_encode_ulaw = iwp_g711_encode_ulaw_avx2,
            .g711_encode_alaw = iwp_g711_encode_alaw_avx2,
            .pcm_f32_from_s16 = iwp_pcm_f32_from_s16_avx2,
            .pcm_s16_from_f32 = iwp_pcm_s16_from_f32_avx2,
            .pcm_gain_s16 = iwp_pcm_gain_s16_avx2,
            .pcm_mix_s16 = iwp_pcm_mix_s16_avx2,
            .pcm_peak_s16 = iwp_pcm_peak_s16_avx2,
            .pcm_energy_s16 = iwp_pcm_energy_s16_avx2,
            .ws_mask = iwp_ws_mask_avx2,
        },
    [IW_LEVEL_AVX512] =
        {
            .level = IW_LEVEL_AVX512,
            .base64_decode = iwp_base64_decode_avx512,
            .base64_encode = iwp_base64_encode_avx512,
            .g711_decode_ulaw = iwp_g711_decode_ulaw_avx512,
            .g711_decode_alaw = iwp_g711_decode_alaw_avx512,
            .g711_encode_ulaw = iwp_g711_encode_ulaw_avx512,
            .g711_encode_alaw = iwp_g711_encode_alaw_avx512,
            .pcm_f32_from_s16 = iwp_pcm_f32_from_s16_avx512,
            .pcm_s16_from_f32 = iwp_pcm_s16_from_f32_avx512,
            .pcm_gain_s16 = iwp_pcm_gain_s16_avx512,
            .pcm_mix_s16 = iwp_pcm_mix_s16_avx512,
            .pcm_peak_s16 = iwp_pcm_peak_s16_avx512,
            .pcm_energy_s16 = iwp_pcm_energy_s16_avx512,
            .ws_mask = iwp_ws_mask_avx512,
        },
#endif
#if IWP_HAVE_NEON
    [IW_LEVEL_NEON] =
        {
            .level = IW_LEVEL_NEON,
            .base64_decode = iwp_base64_decode_neon,
            .base64_encode = iwp_base64_encode_neon,
            .g711_decode_ulaw = iwp_g711_decode_ulaw_neon,
            .g711_decode_alaw = iwp_g711_decode_alaw_neon,
            .g711_encode_ulaw = iwp_g711_encode_ulaw_neon,
            .g711_encode_alaw = iwp_g711_encode_alaw_neon,
            .pcm_f32_from_s16 = iwp_pcm_f32_from_s16_neon,
            .pcm_s16_from_f32 = iwp_pcm_s16_from_f32_neon,
            .pcm_gain_s16 = iwp_pcm_gain_s16_neon,
            .pcm_mix_s16 = iwp_pcm_mix_s16_neon,
            .pcm_peak_s16 = iwp_pcm_peak_s16_neon,
            .pcm_energy_s16 = iwp_pcm_energy_s16_neon,
            .ws_mask = iwp_ws_mask_neon,
        },
#endif
};

static const char *const names[IW_LEVEL_COUNT] = {
    [IW_LEVEL_SCALAR] = "scalar",
    [IW_LEVEL_AVX2] = "avx2",
    [IW_LEVEL_AVX512] = "avx512",
    [IW_LEVEL_NEON] = "neon",
};

struct iwp_pointer iwp_kernels_row;

static const struct iwp_kernels *use(int level)
{
    iwp_store_pointer(&iwp_kernels_row, (void *)&rows[level]);
    return &rows[level];
}

const char *iw_level_name(int level)
{
    return level >= 0 && level < IW_LEVEL_COUNT ? names[level] : NULL;
}

int iw_level_supported(int level)
{
    return level >= 0 && level < IW_LEVEL_COUNT && iwp_cpu_runs(level);
}

int iw_level_best(void)
{
    int level = IW_LEVEL_COUNT - 1;

    while (!iw_level_supported(level))
        level--;
    return level;
}

enum iw_status iw_level_force(int level)
{
    if (!iw_level_supported(level))
        return IW_UNSUPPORTED;
    (void)use(level);
    return IW_OK;
}

const struct iwp_kernels *iwp_kernels_choose(void)
{
    return use(iw_level_best());
}

int iw_level_active(void)
{
    return iwp_kernels_active()->level;
}
