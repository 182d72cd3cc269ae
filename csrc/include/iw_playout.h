/*
 * The playout. Included by playout/ and device/, and read by build_ffi.py as iw_api.h is, whose
 * rules hold here too.
 */
#ifndef IW_PLAYOUT_H
#define IW_PLAYOUT_H

#include "include/iw_api.h"

/* cffi: begin */

/*
 * A jitter buffer: sound is pushed as it arrives from the network, and pulled in blocks of any
 * size by a device. A frame is one sample of each channel; positions count source frames.
 *
 * Three roles, each of which one thread at a time may have:
 * - the producer pushes, and has all functions that do not say otherwise;
 * - the consumer pulls, for example in the callback of a sound device: iw_playout_pull and
 *   iw_playout_parts do not wait, allocate, take a lock, or cost more when more is queued;
 * - anybody may call iw_playout_stats, iw_playout_pause and iw_playout_clock_ns.
 * Other calls, of any thread, must be serialized with the producer's.
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
    uint64_t resyncs;         /* live: new time bases, by jumps of timestamps or long pauses */
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

/*
 * How much of the stream was pulled, as a position. What follows from it is asked with such a
 * position: with this one, with this less what a device has not sounded yet, or with that of
 * iw_track_position. A greater one counts as this.
 */
int64_t iw_playout_pulled(const struct iw_playout *playout);

/* Frames of an item before a position, never more than were received; IW_STALE: unknown. */
int64_t iw_playout_position(const struct iw_playout *playout, uint64_t item, int64_t until);

/*
 * Report `tag` when `offset_frames` of an item are played; the item may still be to come. An
 * offset behind the end fires at the end. Once, in the order of offsets.
 * IW_NO_ROOM: too many are waiting. IW_STALE: the item was cleared.
 */
enum iw_status iw_playout_mark(struct iw_playout *playout, uint64_t item,
                               uint64_t offset_frames, uint64_t tag);

/* What happened up to a position since the last poll, in order. Returns how many events. */
ptrdiff_t iw_playout_poll(struct iw_playout *playout, struct iw_playout_event *events,
                          size_t capacity, int64_t until);

/* Not zero: fade out and stand still from the next pull on; zero: go on. */
void iw_playout_pause(struct iw_playout *playout, int paused);

/* Figures of this moment. Each is exact; two of them may be one pull apart. */
void iw_playout_stats(const struct iw_playout *playout, struct iw_playout_stats *stats);

/* The system's monotonic clock: what a device's callback and a producer have in common. */
uint64_t iw_playout_clock_ns(void);

/* cffi: end */

#endif
