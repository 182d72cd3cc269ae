/* Builds WebSocket frames with audio: base64 in JSON in a masked frame, in one call. */
#include <string.h>

#include "common/iwp_kernels.h"
#include "include/iw_message.h"

/*
 * FIN is the top bit of the byte with the opcode. MASKED is the top bit of the byte with the
 * length.
 */
enum { FIN = 0x80, TEXT = 1, MASKED = 0x80, LENGTH_16 = 126, LENGTH_64 = 127 };

/* The size of a converted block is a multiple of 3 bytes, so every base64 group is whole. */
enum { BLOCK_SAMPLES = 1536, BLOCK_BYTES = BLOCK_SAMPLES * 2 };

/* Return the size of the converted audio; -1 for a cut sample or an unknown form. */
static ptrdiff_t wire_bytes(int form, size_t audio_bytes)
{
    switch (form) {
    case IW_FRAME_BYTES: return (ptrdiff_t)audio_bytes;
    case IW_FRAME_S16_FROM_F32: return audio_bytes % 4 == 0 ? (ptrdiff_t)(audio_bytes / 2) : -1;
    case IW_FRAME_ULAW_FROM_S16:
    case IW_FRAME_ALAW_FROM_S16:
        return audio_bytes % 2 == 0 ? (ptrdiff_t)(audio_bytes / 2) : -1;
    default: return -1;
    }
}

/* Write a frame header to dst and the masking key to *key. Returns the place of the payload. */
static uint8_t *put_header(uint8_t *dst, int opcode, uint64_t payload_bytes,
                           const uint8_t *mask, uint32_t *key)
{
    size_t length_bytes = payload_bytes < LENGTH_16 ? 0 : payload_bytes <= 0xFFFF ? 2 : 8;

    *dst++ = (uint8_t)(FIN | opcode);
    *dst++ = (uint8_t)(MASKED | (length_bytes == 0   ? payload_bytes
                                 : length_bytes == 2 ? LENGTH_16
                                                     : LENGTH_64));
    for (size_t i = 0; i < length_bytes; i++) {
        *dst++ = (uint8_t)(payload_bytes >> 8 * (length_bytes - 1 - i));
    }
    *key = 0;
    for (int i = 0; i < 4; i++) {
        *dst++ = mask[i];
        *key |= (uint32_t)mask[i] << 8 * i;
    }
    return dst;
}

/*
 * Convert the audio by `form` and encode it. The caller has checked that dst is large enough.
 */
static void put_audio(uint8_t *dst, size_t dst_bytes, const uint8_t *audio, size_t audio_bytes,
                      int form)
{
    const struct iwp_kernels *kernels = iwp_kernels_active();
    size_t sample_bytes = form == IW_FRAME_S16_FROM_F32 ? 4 : 2;
    size_t out_bytes = form == IW_FRAME_S16_FROM_F32 ? 2 : 1;
    uint8_t block[BLOCK_BYTES];

    if (form == IW_FRAME_BYTES) {
        (void)iw_base64_encode(dst, dst_bytes, audio, audio_bytes);
        return;
    }
    for (size_t left = audio_bytes / sample_bytes; left != 0;) {
        size_t samples = left < BLOCK_SAMPLES ? left : BLOCK_SAMPLES;
        ptrdiff_t written;

        if (form == IW_FRAME_S16_FROM_F32) {
            kernels->pcm_s16_from_f32(block, audio, samples);
        } else if (form == IW_FRAME_ULAW_FROM_S16) {
            kernels->g711_encode_ulaw(block, audio, samples);
        } else {
            kernels->g711_encode_alaw(block, audio, samples);
        }
        written = iw_base64_encode(dst, dst_bytes, block, samples * out_bytes);
        dst += written;
        dst_bytes -= (size_t)written;
        audio += samples * sample_bytes;
        left -= samples;
    }
}

ptrdiff_t iw_frame_text(uint8_t *dst, size_t dst_bytes, const uint8_t *head, size_t head_bytes,
                        const uint8_t *audio, size_t audio_bytes, int form, const uint8_t *tail,
                        size_t tail_bytes, const uint8_t *mask)
{
    ptrdiff_t plain_bytes = wire_bytes(form, audio_bytes);
    size_t text_bytes, payload_bytes;
    uint8_t *payload;
    uint32_t key;

    if (plain_bytes < 0)
        return IW_BAD_ARGUMENT;
    text_bytes = ((size_t)plain_bytes + 2) / 3 * 4;
    payload_bytes = head_bytes + text_bytes + tail_bytes;
    if (dst_bytes < IW_FRAME_HEADER_BYTES + payload_bytes)
        return IW_NO_ROOM;
    payload = put_header(dst, TEXT, payload_bytes, mask, &key);
    memcpy(payload, head, head_bytes);
    put_audio(payload + head_bytes, text_bytes, audio, audio_bytes, form);
    memcpy(payload + head_bytes + text_bytes, tail, tail_bytes);
    iwp_kernels_active()->ws_mask(payload, payload, payload_bytes, key);
    return payload - dst + (ptrdiff_t)payload_bytes;
}

ptrdiff_t iw_frame_plain(uint8_t *dst, size_t dst_bytes, int opcode, const uint8_t *payload,
                         size_t payload_bytes, const uint8_t *mask)
{
    uint8_t *masked;
    uint32_t key;

    if (dst_bytes < IW_FRAME_HEADER_BYTES ||
        dst_bytes - IW_FRAME_HEADER_BYTES < payload_bytes) {
        return IW_NO_ROOM;
    }
    masked = put_header(dst, opcode, payload_bytes, mask, &key);
    iwp_kernels_active()->ws_mask(masked, payload, payload_bytes, key);
    return masked - dst + (ptrdiff_t)payload_bytes;
}
