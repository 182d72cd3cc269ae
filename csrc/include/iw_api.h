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
#define IW_ABI_VERSION 5

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
    IW_NOT_PLAIN = -30 /* a message that only a whole JSON reader can take */
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

/* ---- playout ----------------------------------------------------------------------------- */

/*
 * A jitter buffer: sound is pushed as it arrives from the network, and pulled in blocks of any
 * size by a device. A frame is one sample of each channel; positions count source frames.
 *
 * Three roles, each of which one thread at a time may have:
 * - the producer pushes, and has all functions that do not say otherwise;
 * - the consumer pulls, for example in the callback of a sound device: iw_playout_pull and
 *   iw_playout_parts do not wait, allocate, take a lock, or cost more when more is queued;
 * - anybody may call iw_playout_stats, iw_playout_pause and iw_playout_clock_ns.
 * Other calls, of any thread, must be serialised with the producer's.
 *
 * Time is an argument: `now_ns` is any monotonic clock, the same for both sides.
 */
struct iw_playout;

enum iw_playout_mode {
    IW_PLAYOUT_BURST = 0, /* the source runs ahead of real time: what is queued is no delay */
    IW_PLAYOUT_LIVE = 1   /* the source is paced in real time: what is queued is delay */
};

enum iw_playout_format {
    IW_PLAYOUT_S16 = 0, /* 16-bit little-endian */
    IW_PLAYOUT_F32 = 1  /* 32-bit float in [-1, 1] */
};

enum iw_playout_state {
    IW_PLAYOUT_EMPTY = 0,        /* nothing came since the start or the last clear */
    IW_PLAYOUT_PREBUFFERING = 1, /* sound is collected */
    IW_PLAYOUT_PLAYING = 2,
    IW_PLAYOUT_STALLED = 3, /* the sound ran out and is not over */
    IW_PLAYOUT_DRAINED = 4  /* all items are played to their ends */
};

enum iw_playout_limit {
    IW_PLAYOUT_ITEMS = 256,   /* items that are queued or remembered */
    IW_PLAYOUT_MARKS = 16384, /* marks that have not fired */
    IW_PLAYOUT_PARTS = 256    /* parts of a pull that are remembered */
};

struct iw_playout_config {
    uint32_t sample_rate_hz; /* 8000 to 48000 */
    uint32_t channels;       /* 1 or 2, interleaved */
    uint32_t input_format;   /* enum iw_playout_format, of what is pushed */
    uint32_t output_format;  /* of what is pulled */
    uint32_t mode;           /* enum iw_playout_mode */
    uint32_t min_delay_ms;   /* live: the target is not below it; 1000 at most */
    uint32_t max_delay_ms;   /* live: nor what is learned above it; 10000 at most */
    uint32_t start_ms;       /* burst: queue so much before an item starts; 0 learns it */
    uint32_t capacity_ms;    /* what may be queued; 10 to 3600000 */
    uint32_t fade_ms;        /* of a clear; 1 to 10 */
    uint32_t fixed_speed;    /* not zero: no time scaling */
    uint32_t fixed_silence;  /* not zero: silence where sound is missing, no concealment */
    double gap_cost;         /* the price of a gap: 3e5 interactive, 9e5 balanced, 2e6 smooth */
};

enum iw_playout_flag {
    IW_PLAYOUT_END_OF_ITEM = 1 /* the item ends with this push */
};

enum iw_playout_kind {
    IW_PLAYOUT_PLAYED = 0,    /* sound of the source, stretched where the counts differ */
    IW_PLAYOUT_CONCEALED = 1, /* made up; where it has source frames it stands for lost ones */
    IW_PLAYOUT_HELD = 2,      /* silence within an item */
    IW_PLAYOUT_IDLE = 3,      /* silence because nothing is due */
    IW_PLAYOUT_FADED = 4      /* the way out after a clear, or into and out of a pause */
};

/* Where a stretch of output comes from. */
struct iw_playout_part {
    uint32_t kind; /* enum iw_playout_kind */
    uint32_t output_frames;
    uint32_t source_frames;
    int64_t position; /* of the first of them */
};

struct iw_playout_cleared {
    uint64_t item;
    uint64_t heard_frames;    /* of the item, final; the fade is in it */
    uint64_t received_frames; /* of the item */
    uint64_t cancelled_marks;
};

enum iw_playout_event_type {
    IW_PLAYOUT_ITEM_STARTED = 1, /* its first frame was played */
    IW_PLAYOUT_ITEM_DONE = 2,    /* its last frame was played */
    IW_PLAYOUT_ITEM_CLEARED = 3, /* `position` frames of it were heard */
    IW_PLAYOUT_MARK = 4,         /* what `tag` marks was played */
    IW_PLAYOUT_MARK_CANCELLED = 5,
    IW_PLAYOUT_STALL = 6,
    IW_PLAYOUT_RESUME = 7,
    IW_PLAYOUT_DRAIN = 8,
    IW_PLAYOUT_SKIP = 9 /* live: sound was left out to catch up */
};

struct iw_playout_event {
    uint32_t type;
    uint64_t item;    /* of an item or a mark */
    uint64_t tag;     /* of a mark */
    int64_t position; /* frames of the item; of the stream from IW_PLAYOUT_STALL on */
    uint64_t time_ns; /* from IW_PLAYOUT_STALL on, else 0 */
};

struct iw_playout_stats {
    uint64_t received_frames; /* accepted pushes */
    uint64_t stale_frames;    /* refused, of items that were cleared or are over */
    uint64_t refused_frames;  /* refused, no room */
    uint64_t resyncs;         /* live: jumps of the timestamps that began a new time base */
    uint64_t clears;
    uint64_t pulled_frames; /* output, the sum of the next five */
    uint64_t played_frames;
    uint64_t concealed_frames;
    uint64_t held_frames;
    uint64_t idle_frames;
    uint64_t faded_frames;
    uint64_t inserted_frames;  /* output that time scaling added */
    uint64_t removed_frames;   /* source that time scaling left out */
    uint64_t lost_frames;      /* source that never came or came too late */
    uint64_t late_frames;      /* came when its time was over */
    uint64_t duplicate_frames; /* came twice */
    uint64_t skipped_frames;   /* live: left out to catch up */
    uint64_t stalls;
    uint64_t stalled_frames; /* output during stalls */
    uint64_t interruptions;  /* stalls of 150 ms and more */
    uint64_t missed_events;  /* not reported, since nobody polled */
    uint64_t queued_frames;  /* received and not played */
    double target_delay_ms;  /* live: above the quickest packet; burst: the start threshold */
    double delay_ms;         /* live: of what was played last, above the quickest packet */
    uint32_t state;          /* enum iw_playout_state */
};

/*
 * A new playout. The only function that allocates besides pushing and marking.
 * IW_BAD_ARGUMENT: a field of `config` is out of its range.
 */
enum iw_status iw_playout_create(struct iw_playout **playout,
                                 const struct iw_playout_config *config);

/* Free it and all that is queued. NULL is allowed. No other call may be under way. */
void iw_playout_destroy(struct iw_playout *playout);

/*
 * Append `frames` of an item. All or nothing: IW_NO_ROOM when more than the capacity would be
 * queued, IW_STALE when the item was cleared, has ended, or was followed by another one;
 * IW_NO_MEMORY. Zero frames are allowed, to end an item that is already there.
 */
enum iw_status iw_playout_push(struct iw_playout *playout, const uint8_t *samples,
                               size_t frames, uint64_t item, uint32_t flags, uint64_t now_ns);

/*
 * The same for a packet with an RTP timestamp: it counts frames and wraps at 2^32. Packets may
 * come in any order, twice, or not at all. A jump of more than 5 s begins a new time base.
 */
enum iw_status iw_playout_push_at(struct iw_playout *playout, const uint8_t *samples,
                                  size_t frames, uint64_t item, uint32_t timestamp,
                                  uint32_t flags, uint64_t now_ns);

/*
 * The same for a packet with a sequence number only, which wraps at 2^16. Packets must be of
 * one size, except the last of an item.
 */
enum iw_status iw_playout_push_sequence(struct iw_playout *playout, const uint8_t *samples,
                                        size_t frames, uint64_t item, uint16_t sequence,
                                        uint32_t flags, uint64_t now_ns);

/*
 * iw_playout_push in two steps, for who makes the samples in place: reserve room for up to
 * `frames`, write to `*space`, commit what was written. A second reserve replaces the first.
 */
enum iw_status iw_playout_reserve(struct iw_playout *playout, uint8_t **space, size_t frames,
                                  uint64_t item);
enum iw_status iw_playout_commit(struct iw_playout *playout, size_t frames, uint32_t flags,
                                 uint64_t now_ns);

/*
 * The next `frames` of output. Always gives all of them; silence where nothing is due.
 * Returns how many of them are sound. Consumer.
 */
size_t iw_playout_pull(struct iw_playout *playout, uint8_t *out, size_t frames,
                       uint64_t now_ns);

/* Where the last pull's output came from; returns the count, `capacity` at most. Consumer. */
size_t iw_playout_parts(const struct iw_playout *playout, struct iw_playout_part *parts,
                        size_t capacity);

/*
 * Nothing that is queued will be heard, except a fade of config.fade_ms. Says for each item
 * that was not heard to its end how much of it was; these numbers are final, and late pushes to
 * these items are refused. Marks behind them are cancelled.
 *
 * cleared         out, `capacity` of them, IW_PLAYOUT_ITEMS are always enough
 * latency_frames  what the device has taken and will drop
 *
 * Returns the count of items, or IW_NO_ROOM, and then nothing has changed.
 */
ptrdiff_t iw_playout_clear(struct iw_playout *playout, struct iw_playout_cleared *cleared,
                           size_t capacity, uint64_t latency_frames);

/* Frames of an item that were heard, never more than were received; IW_STALE: unknown. */
int64_t iw_playout_position(const struct iw_playout *playout, uint64_t item,
                            uint64_t latency_frames);

/*
 * Report `tag` when `offset_frames` of an item are played; the item may still be to come. An
 * offset behind the end fires at the end. Once, in the order of offsets.
 * IW_NO_ROOM: too many are waiting. IW_STALE: the item was cleared.
 */
enum iw_status iw_playout_mark(struct iw_playout *playout, uint64_t item,
                               uint64_t offset_frames, uint64_t tag);

/* What happened since the last poll, in order. Returns the count of events. */
ptrdiff_t iw_playout_poll(struct iw_playout *playout, struct iw_playout_event *events,
                          size_t capacity, uint64_t latency_frames);

/* Not zero: fade out and stand still from the next pull on; zero: go on. */
void iw_playout_pause(struct iw_playout *playout, int paused);

/* Figures of this moment. Each is exact; two of them may be one pull apart. */
void iw_playout_stats(const struct iw_playout *playout, struct iw_playout_stats *stats);

/* The system's monotonic clock: what a device's callback and a producer have in common. */
uint64_t iw_playout_clock_ns(void);

/* cffi: end */

#endif
