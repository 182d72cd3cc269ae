/*
 * Everything that Python may call. Included by every source file, and read by build_ffi.py: the
 * text between the two marks is given to cffi as it stands, so it holds
 * plain declarations only. iw_device.h, the part for sound devices, goes the same way.
 *
 * Rules for all functions here:
 * - Samples cross as bytes, `uint8_t *`, little-endian, at any alignment.
 * - Sizes are `size_t` and their names tell the unit.
 * - A result is an `enum iw_status`, or a `ptrdiff_t` that is a count when it is zero or more
 *   and an `enum iw_status` when it is negative.
 * - Input and output must not overlap unless the function says that they may.
 * - Nothing blocks, prints, calls Python or touches errno; nothing allocates but `create`
 *   and what says so.
 * - Functions without an object are thread-safe. An object belongs to one thread at a time
 *   unless its section says more.
 */
#ifndef IW_API_H
#define IW_API_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* ---- version ----------------------------------------------------------------------------- */

/*
 * Raised with every change of this header. Python compares it at import, so that a stale
 * compiled module is named and not run.
 */
#define IW_ABI_VERSION 15

/* ---- results ----------------------------------------------------------------------------- */

enum iw_status {
    IW_OK = 0,
    IW_BAD_ARGUMENT = -1, /* an argument that the function excludes */
    IW_NO_MEMORY = -2,    /* the allocator refused */
    IW_NO_ROOM = -3,      /* the output buffer is too small */
    IW_UNSUPPORTED = -4,  /* this CPU or this build cannot do it */
    IW_STALE = -5,        /* it belongs to something that is over */

    /* base64 */
    IW_BAD_LENGTH = -10,    /* the text ends inside a group of four characters */
    IW_BAD_CHARACTER = -11, /* a character outside the alphabet */
    IW_BAD_PADDING = -12,   /* '=' where it may not stand, or data after it */
    IW_BAD_BITS = -13,      /* the last character carries bits that belong to no byte */

    /* WAV */
    IW_NO_RIFF = -20, /* does not begin as a WAV file does */
    IW_NO_DATA = -21, /* a WAV header without its data chunk */

    /* split */
    IW_NOT_PLAIN = -30, /* a message that only a whole JSON reader can take */
    IW_NO_AUDIO = -31   /* a message without audio */
};

/* A few words for a status; never NULL, a constant, also for numbers that are no status. */
const char *iw_status_text(int status);

/* ---- instruction sets -------------------------------------------------------------------- */

/* Which kernels run. Every level gives the same bits. */
enum iw_level {
    IW_LEVEL_SCALAR = 0, /* plain C, everywhere */
    IW_LEVEL_AVX2 = 1,   /* x86: AVX2 */
    IW_LEVEL_AVX512 = 2, /* x86: AVX-512 F, BW, VL, VBMI and BMI2 */
    IW_LEVEL_NEON = 3,   /* AArch64, where it is always there */
    IW_LEVEL_COUNT = 4
};

/* The name of a level in lower case, "scalar"; NULL when there is no such level. */
const char *iw_level_name(int level);

/* 1 when this build has the level and this CPU and operating system can run it, else 0. */
int iw_level_supported(int level);

/* The best level that is supported. */
int iw_level_best(void);

/* The level in use; the best one until another is forced. */
int iw_level_active(void);

/*
 * Use `level` from now on, in all threads.
 * IW_UNSUPPORTED changes nothing: the CPU cannot run it, or there is no such level.
 */
enum iw_status iw_level_force(int level);

/* ---- base64 ------------------------------------------------------------------------------ */

/*
 * Decode one whole text, strictly as RFC 4648 section 4 has it: the standard alphabet, padding
 * required, no white space, and no bits left over (section 3.5). A text is accepted exactly
 * when encoding the result gives it back.
 *
 * dst        out, src_bytes / 4 * 3 bytes less the padding; on failure its content is undefined
 * dst_bytes  the room at dst
 * src        in, the text, src_bytes characters; an empty text is an empty result
 *
 * Returns the bytes written, or IW_NO_ROOM, IW_BAD_LENGTH, IW_BAD_CHARACTER, IW_BAD_PADDING,
 * IW_BAD_BITS. iw_base64_fault tells where.
 */
ptrdiff_t iw_base64_decode(uint8_t *dst, size_t dst_bytes, const uint8_t *src,
                           size_t src_bytes);

/*
 * Find the first fault of a text that iw_base64_decode refuses. For messages; slow.
 *
 * position   out, the index of the character at fault; src_bytes when the text ends too early
 *
 * Returns the status that iw_base64_decode gives with room enough; IW_OK for a good text.
 */
enum iw_status iw_base64_fault(size_t *position, const uint8_t *src, size_t src_bytes);

/*
 * Encode with padding and without line breaks (RFC 4648 section 4).
 *
 * dst        out, four characters for each three bytes begun
 * dst_bytes  the room at dst
 *
 * Returns the characters written, or IW_NO_ROOM and then nothing is written.
 */
ptrdiff_t iw_base64_encode(uint8_t *dst, size_t dst_bytes, const uint8_t *src,
                           size_t src_bytes);

/* ---- G.711 ------------------------------------------------------------------------------- */

/*
 * One byte a sample of law, two of 16-bit linear PCM. These cannot fail.
 *
 * Encoding follows the reference of ITU-T G.191: the magnitude of a negative sample is its
 * one's complement, so a sample on a decision value belongs to the interval above it on both
 * sides of zero, and -1 is a negative zero. (The Sun code behind Python's former audioop
 * shifts before it negates, which puts every negative boundary of mu-law four nearer to zero;
 * its A-law is the same as here.) Decoding is the same everywhere.
 *
 * dst      out, `samples` samples
 * src      in, `samples` samples
 */
void iw_g711_decode_ulaw(uint8_t *dst, const uint8_t *src, size_t samples);
void iw_g711_decode_alaw(uint8_t *dst, const uint8_t *src, size_t samples);
void iw_g711_encode_ulaw(uint8_t *dst, const uint8_t *src, size_t samples);
void iw_g711_encode_alaw(uint8_t *dst, const uint8_t *src, size_t samples);

/* ---- PCM --------------------------------------------------------------------------------- */

/*
 * Convert 16-bit samples to 32-bit floats in [-1, 1): divided by 32768, which is exact.
 *
 * dst      out, `samples` floats
 * src      in, `samples` 16-bit samples
 *
 * Cannot fail.
 */
void iw_pcm_f32_from_s16(uint8_t *dst, const uint8_t *src, size_t samples);

/*
 * Convert 32-bit floats to 16-bit samples: times 32768, rounded to the nearest, halves to even,
 * then held inside [-32768, 32767]. Infinities saturate, NaN becomes 0. The floating-point unit
 * must round to nearest, as it does unless a program changed it.
 *
 * dst      out, `samples` 16-bit samples
 * src      in, `samples` floats
 *
 * Cannot fail.
 */
void iw_pcm_s16_from_f32(uint8_t *dst, const uint8_t *src, size_t samples);

/*
 * Swap the two bytes of each 16-bit sample, between big-endian (RTP's L16) and little-endian.
 *
 * dst      out, `samples` samples; may be src itself
 * src      in, `samples` samples
 *
 * Cannot fail.
 */
void iw_pcm_swap_s16(uint8_t *dst, const uint8_t *src, size_t samples);

/*
 * Multiply 16-bit samples by a factor: as 32-bit floats, so the product is rounded once to 24
 * bits, then to the nearest integer, halves to even, and held inside [-32768, 32767].
 *
 * dst      out, `samples` samples; may be src itself
 * src      in, `samples` samples
 * gain     1 leaves the samples as they are, a negative one turns them round; NaN is silence
 *
 * Cannot fail.
 */
void iw_pcm_gain_s16(uint8_t *dst, const uint8_t *src, size_t samples, float gain);

/*
 * Add two streams of 16-bit samples; the sums are held inside [-32768, 32767].
 *
 * dst      out, `samples` samples; may be a or b itself
 * a, b     in, `samples` samples each
 *
 * Cannot fail.
 */
void iw_pcm_mix_s16(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);

/* The largest magnitude of 16-bit samples, 0 to 32768; 0 when there are none. */
uint32_t iw_pcm_peak_s16(const uint8_t *src, size_t samples);

/*
 * The sum of the squares of 16-bit samples, exact for up to 2^33 of them. The energies of the
 * parts of a stream add up to its own.
 */
uint64_t iw_pcm_energy_s16(const uint8_t *src, size_t samples);

/* ---- WebSocket --------------------------------------------------------------------------- */

/*
 * Mask a payload, or a part of one, or take the mask off again (RFC 6455 section 5.3).
 *
 * dst           out, `bytes` bytes; may be src itself
 * src           in, `bytes` bytes
 * key           in, the four bytes of the masking key as they stand in the frame
 * offset_bytes  how much of the payload lies before src
 *
 * Cannot fail.
 */
void iw_ws_mask(uint8_t *dst, const uint8_t *src, size_t bytes, const uint8_t *key,
                size_t offset_bytes);

/* ---- WAV --------------------------------------------------------------------------------- */

/* What a WAV header says; zero where it does not say it. */
struct iw_wav {
    size_t data_offset_bytes; /* where the samples begin */
    size_t data_bytes;        /* how many bytes of them are there */
    uint32_t format;          /* 1 is PCM; the real one behind WAVE_FORMAT_EXTENSIBLE */
    uint32_t channels;
    uint32_t sample_rate_hz;
    uint32_t sample_bits;
};

/*
 * Find the samples in one chunk of audio that may begin with a WAV header.
 *
 * The length in the data chunk is believed when nothing, or whole chunks, follow it. Otherwise
 * (streams announce 0 or 4 GiB, cut files too much) the samples reach to the end.
 *
 * found      out, always filled; see the results
 *
 * Returns IW_OK; or IW_NO_RIFF, and all of src is given as samples; or IW_NO_DATA, and what
 * follows the 44 bytes of a usual header is.
 */
enum iw_status iw_wav_find(struct iw_wav *found, const uint8_t *src, size_t src_bytes);

/* cffi: end */

#endif
