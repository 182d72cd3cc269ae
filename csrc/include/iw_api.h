/*
 * Functions that Python may call. Included by every source file. build_ffi.py passes the text
 * between the two marks to cffi, so this text contains plain declarations only. The other
 * headers of this folder work in the same way, and the rules below hold for them too.
 *
 * Rules for all functions:
 * - Samples are passed as bytes, `uint8_t *`, little-endian, at any alignment.
 * - Sizes are `size_t`, and their names contain the unit.
 * - A function returns an `enum iw_status` or a `ptrdiff_t`. A negative `ptrdiff_t` is an `enum
 *   iw_status`, and any other `ptrdiff_t` is a count.
 * - Input and output must not overlap unless the function allows it.
 * - No function blocks, prints, calls Python or changes errno. A function allocates memory only
 *   if it is a `create` function or if its comment says so.
 * - Functions without an object are thread-safe. Only one thread at a time may use an object
 *   unless the comment of the object allows more.
 */
#ifndef IW_API_H
#define IW_API_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* ---- version ----------------------------------------------------------------------------- */

/*
 * Increment this number with every change of these headers. Python checks the number at import,
 * and raises an error if the compiled module is older or newer than the Python files.
 */
#define IW_ABI_VERSION 17

/* ---- results ----------------------------------------------------------------------------- */

enum iw_status {
    IW_OK = 0,
    IW_BAD_ARGUMENT = -1, /* an argument is outside its range */
    IW_NO_MEMORY = -2,    /* memory could not be allocated */
    IW_NO_ROOM = -3,      /* the output buffer or the queue is too small */
    IW_UNSUPPORTED = -4,  /* this CPU or this build does not support the level */
    IW_STALE = -5,        /* the item has ended, was cleared, or is unknown */

    /* base64 */
    IW_BAD_LENGTH = -10,    /* the text ends inside a group of four characters */
    IW_BAD_CHARACTER = -11, /* a character outside the alphabet */
    IW_BAD_PADDING = -12,   /* '=' in a wrong place, or data after '=' */
    IW_BAD_BITS = -13,      /* the last character has bits set that belong to no byte */

    /* WAV */
    IW_NO_RIFF = -20, /* does not begin with the header of a WAV file */
    IW_NO_DATA = -21, /* a WAV header without a data chunk */

    /* split */
    IW_NOT_PLAIN = -30, /* the message needs a complete JSON parser */
    IW_NO_AUDIO = -31   /* the message has no audio */
};

/*
 * Return a constant text for a status. An unknown number has a text too, so this is never NULL.
 */
const char *iw_status_text(int status);

/* ---- instruction sets -------------------------------------------------------------------- */

/* The instruction set that the kernels use. Every level produces the same bits. */
enum iw_level {
    IW_LEVEL_SCALAR = 0, /* plain C, on every CPU */
    IW_LEVEL_AVX2 = 1,   /* x86: AVX2, BMI1 and BMI2 */
    IW_LEVEL_AVX512 = 2, /* x86: AVX-512 F, BW, VL and VBMI; also AVX2, BMI1 and BMI2 */
    IW_LEVEL_NEON = 3,   /* AArch64: every CPU has NEON */
    IW_LEVEL_COUNT = 4
};

/* Return the name of a level in lower case, such as "scalar"; NULL if the level is unknown. */
const char *iw_level_name(int level);

/* Return 1 if this build has the level and this machine can run it. Otherwise return 0. */
int iw_level_supported(int level);

/* Return the best level that is supported. */
int iw_level_best(void);

/* Return the level in use: the best level, or the level that iw_level_force has set. */
int iw_level_active(void);

/*
 * Use `level` from now on, in all threads. Returns IW_UNSUPPORTED, and changes nothing, if the
 * CPU cannot run the level or the level is unknown.
 */
enum iw_status iw_level_force(int level);

/* ---- base64 ------------------------------------------------------------------------------ */

/*
 * Decode one whole text by the strict rules of RFC 4648 section 4: the standard alphabet,
 * padding required, no white space, and no unused bits set (section 3.5). A text is accepted if
 * and only if encoding the result produces the same text.
 *
 * dst        out, src_bytes / 4 * 3 bytes minus one for each '='; undefined on failure
 * dst_bytes  the size of dst
 * src        in, the text, src_bytes characters; the result of an empty text is empty
 *
 * Returns the count of bytes written, or IW_NO_ROOM, IW_BAD_LENGTH, IW_BAD_CHARACTER,
 * IW_BAD_PADDING, IW_BAD_BITS. iw_base64_fault finds the position of the fault.
 */
ptrdiff_t iw_base64_decode(uint8_t *dst, size_t dst_bytes, const uint8_t *src,
                           size_t src_bytes);

/*
 * Find the first fault of a text that iw_base64_decode refused. This function is slow. Use it
 * only for error messages.
 *
 * position   out, the index of the wrong character; src_bytes if the text ends too early
 *
 * Returns the status that iw_base64_decode returns for this text if dst is large enough, or
 * IW_OK if the text has no fault.
 */
enum iw_status iw_base64_fault(size_t *position, const uint8_t *src, size_t src_bytes);

/*
 * Encode with padding and without line breaks (RFC 4648 section 4).
 *
 * dst        out, four characters for every three bytes, and four for a shorter last group
 * dst_bytes  the size of dst
 *
 * Returns the count of characters written. If dst is too small, returns IW_NO_ROOM and writes
 * nothing.
 */
ptrdiff_t iw_base64_encode(uint8_t *dst, size_t dst_bytes, const uint8_t *src,
                           size_t src_bytes);

/* ---- G.711 ------------------------------------------------------------------------------- */

/*
 * Convert between mu-law or A-law, one byte per sample, and 16-bit linear PCM, two bytes per
 * sample. These functions cannot fail.
 *
 * Encoding follows the reference code of ITU-T G.191: the magnitude of a negative sample is its
 * one's complement. So -1 is encoded as negative zero, and a sample on the boundary of two
 * intervals always belongs to the upper interval.
 *
 * Python's audioop (removed in Python 3.13) decodes to the same samples and encodes A-law in
 * the same way. Its encoding of mu-law differs: every negative boundary is nearer to zero by
 * four.
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
 * Convert 16-bit samples to 32-bit floats in [-1, 1). The samples are divided by 32768, which
 * is exact.
 *
 * dst      out, `samples` floats
 * src      in, `samples` 16-bit samples
 *
 * Cannot fail.
 */
void iw_pcm_f32_from_s16(uint8_t *dst, const uint8_t *src, size_t samples);

/*
 * Convert 32-bit floats to 16-bit samples. The floats are multiplied by 32768, rounded to the
 * nearest integer with halves to even, and limited to [-32768, 32767]. Infinities are limited
 * too, and NaN becomes 0. The floating-point unit must round to nearest, which is the default.
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
 * Multiply 16-bit samples by a factor. The product is a 32-bit float with 24 significant bits.
 * It is rounded to the nearest integer with halves to even, and limited to [-32768, 32767].
 *
 * dst      out, `samples` samples; may be src itself
 * src      in, `samples` samples
 * gain     1 changes nothing, a negative factor inverts the samples, NaN makes silence
 *
 * Cannot fail.
 */
void iw_pcm_gain_s16(uint8_t *dst, const uint8_t *src, size_t samples, float gain);

/*
 * Add two streams of 16-bit samples. The sums are limited to [-32768, 32767].
 *
 * dst      out, `samples` samples; may be a or b itself
 * a, b     in, `samples` samples each
 *
 * Cannot fail.
 */
void iw_pcm_mix_s16(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t samples);

/* Return the largest magnitude of 16-bit samples, 0 to 32768. Without samples, return 0. */
uint32_t iw_pcm_peak_s16(const uint8_t *src, size_t samples);

/*
 * Return the sum of the squares of 16-bit samples, exact for up to 2^33 samples. The energy of
 * a stream is the sum of the energies of its parts.
 */
uint64_t iw_pcm_energy_s16(const uint8_t *src, size_t samples);

/* ---- WebSocket --------------------------------------------------------------------------- */

/*
 * Mask or unmask a payload or a part of a payload (RFC 6455 section 5.3).
 *
 * dst           out, `bytes` bytes; may be src itself
 * src           in, `bytes` bytes
 * key           in, the four bytes of the masking key in the order of the frame
 * offset_bytes  the size of the payload before src
 *
 * Cannot fail.
 */
void iw_ws_mask(uint8_t *dst, const uint8_t *src, size_t bytes, const uint8_t *key,
                size_t offset_bytes);

/* ---- WAV --------------------------------------------------------------------------------- */

/* The content of a WAV header. A field that the header does not have is zero. */
struct iw_wav {
    size_t data_offset_bytes; /* where the samples begin */
    size_t data_bytes;        /* the size of the samples */
    uint32_t format;          /* 1 is PCM; WAVE_FORMAT_EXTENSIBLE: the format in its GUID */
    uint32_t channels;
    uint32_t sample_rate_hz;
    uint32_t sample_bits;
};

/*
 * Find the samples in one chunk of audio that may begin with a WAV header.
 *
 * The length in the header of the data chunk is used if the samples reach to the end of src, or
 * if only whole chunks follow the samples. Otherwise the length is ignored, and all bytes up to
 * the end of src are samples. For example, the header of a stream has the length 0 or 4 GiB,
 * and the header of a cut file has a length that is too large.
 *
 * found      out, filled for every status
 *
 * Returns one of these:
 * - IW_OK
 * - IW_NO_RIFF: all of src is samples
 * - IW_NO_DATA: the samples begin after the 44 bytes of a usual header
 */
enum iw_status iw_wav_find(struct iw_wav *found, const uint8_t *src, size_t src_bytes);

/* cffi: end */

#endif
