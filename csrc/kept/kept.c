/* Conversions into kept buffers: the sizes, and the kernels. */
#include "include/iw_kept.h"

#include "common/iwp_compiler.h"
#include "common/iwp_kernels.h"

ptrdiff_t iw_kept_base64_decode(const struct iw_kept *out, const uint8_t *src, size_t src_bytes)
{
    return iw_base64_decode(out->memory, out->room_bytes, src, src_bytes);
}

ptrdiff_t iw_kept_base64_encode(const struct iw_kept *out, const uint8_t *src, size_t src_bytes)
{
    return iw_base64_encode(out->memory, out->room_bytes, src, src_bytes);
}

/* Each kernel takes samples, of so many bytes on either side. */
IWP_INLINE ptrdiff_t convert(void (*kernel)(uint8_t *, const uint8_t *, size_t),
                             const struct iw_kept *out, const uint8_t *src, size_t src_bytes,
                             size_t src_sample_bytes, size_t dst_sample_bytes)
{
    const size_t samples = src_bytes / src_sample_bytes;

    if (samples * src_sample_bytes != src_bytes)
        return IW_BAD_LENGTH;
    if (samples > out->room_bytes / dst_sample_bytes)
        return IW_NO_ROOM;
    kernel(out->memory, src, samples);
    return (ptrdiff_t)(samples * dst_sample_bytes);
}

ptrdiff_t iw_kept_g711_decode_ulaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes)
{
    return convert(iwp_kernels_active()->g711_decode_ulaw, out, src, src_bytes, 1, 2);
}

ptrdiff_t iw_kept_g711_decode_alaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes)
{
    return convert(iwp_kernels_active()->g711_decode_alaw, out, src, src_bytes, 1, 2);
}

ptrdiff_t iw_kept_g711_encode_ulaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes)
{
    return convert(iwp_kernels_active()->g711_encode_ulaw, out, src, src_bytes, 2, 1);
}

ptrdiff_t iw_kept_g711_encode_alaw(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes)
{
    return convert(iwp_kernels_active()->g711_encode_alaw, out, src, src_bytes, 2, 1);
}

ptrdiff_t iw_kept_pcm_f32_from_s16(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes)
{
    return convert(iwp_kernels_active()->pcm_f32_from_s16, out, src, src_bytes, 2, 4);
}

ptrdiff_t iw_kept_pcm_s16_from_f32(const struct iw_kept *out, const uint8_t *src,
                                   size_t src_bytes)
{
    return convert(iwp_kernels_active()->pcm_s16_from_f32, out, src, src_bytes, 4, 2);
}

ptrdiff_t iw_kept_pcm_swap_s16(const struct iw_kept *out, const uint8_t *src, size_t src_bytes)
{
    return convert(iwp_kernels_active()->pcm_swap_s16, out, src, src_bytes, 2, 2);
}
