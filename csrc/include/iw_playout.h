/*
 * The playout. Included by playout/ and device/, and read by build_ffi.py. The rules of
 * iw_api.h hold here too.
 */
#ifndef IW_PLAYOUT_H
#define IW_PLAYOUT_H

#include "include/iw_api.h"

/* cffi: begin */

/*
 * A jitter buffer. The producer pushes audio as it arrives from the network, and the consumer,
 * a sound device, pulls audio in blocks of any size. A frame is one sample of each channel.
 * Positions count source frames.
 *
 * Threads:
 * - The consumer is one thread, for example the callback of a sound device. It calls
 *   iw_playout_pull and iw_playout_parts. These functions do not wait, allocate or take a lock,
 *   and their cost does not depend on how much is queued.
 * - Any thread may call iw_playout_stats, iw_playout_pause and iw_playout_clock_ns at any time.
 * - The producer calls all other functions. The producer may be several threads, but only one
 *   of these functions may run at a time.
 *
 * The argument `now_ns` is the time of a monotonic clock. The producer and the consumer must
 * use the same clock.
 */
struct iw_playout;

enum iw_playout_mode {
    IW_PLAYOUT_BURST = 0, /* the source is faster than real time: queued audio adds no delay */
    IW_PLAYOUT_LIVE = 1   /* the source sends in real time: queued audio adds delay */
};

enum iw_playout_format {
    IW_PLAYOUT_S16 = 0, /* 16-bit little-endian */
    IW_PLAYOUT_F32 = 1  /* 32-bit float in [-1, 1] */
};

enum iw_playout_state {
    IW_PLAYOUT_EMPTY = 0,        /* nothing was pushed since the start or the last clear */
    IW_PLAYOUT_PREBUFFERING = 1, /* audio is queued, but playing has not begun */
    IW_PLAYOUT_PLAYING = 2,
    IW_PLAYOUT_STALLED = 3, /* the audio ran out before the end of the item */
    IW_PLAYOUT_DRAINED = 4  /* all items were played to their ends */
};

enum iw_playout_limit {
    IW_PLAYOUT_ITEMS = 256,   /* the limit of items that are queued or remembered */
    IW_PLAYOUT_MARKS = 16384, /* the limit of marks that have not fired */
    IW_PLAYOUT_PARTS = 256    /* the limit of remembered parts of a pull */
};

struct iw_playout_config {
    uint32_t sample_rate_hz; /* 8000 to 48000 */
    uint32_t channels;       /* 1 or 2, interleaved */
    uint32_t input_format;   /* enum iw_playout_format, of the pushed audio */
    uint32_t output_format;  /* enum iw_playout_format, of the pulled audio */
    uint32_t mode;           /* enum iw_playout_mode */
    uint32_t min_delay_ms;   /* live: the least target delay; 0 to 1000 */
    uint32_t max_delay_ms;   /* live: the largest delay that is learned; up to 10000 */
    uint32_t start_ms;       /* burst: how much to queue before an item starts; 0: adapt */
    uint32_t capacity_ms;    /* how much may be queued; 10 to 3600000 */
    uint32_t fade_ms;        /* the length of the fade after a clear; 1 to 10 */
    uint32_t fixed_speed;    /* not zero: no time scaling */
    uint32_t fixed_silence;  /* not zero: silence where audio is missing, no concealment */
    /* live: the cost of a gap: 3.7e5 (interactive), 1.1e6 (balanced) or 2.5e6 (smooth) */
    double gap_cost;
};

enum iw_playout_flag {
    IW_PLAYOUT_END_OF_ITEM = 1 /* the item ends with this push */
};

enum iw_playout_kind {
    IW_PLAYOUT_PLAYED = 0,    /* audio of the source; time-scaled if the two counts differ */
    IW_PLAYOUT_CONCEALED = 1, /* synthetic; its source frames, if any, are lost frames */
    IW_PLAYOUT_HELD = 2,      /* silence within an item */
    IW_PLAYOUT_IDLE = 3,      /* silence because there is nothing to play */
    IW_PLAYOUT_FADED = 4      /* the fade after a clear, or into and out of a pause */
};

/* Consecutive frames of output with the same origin. */
struct iw_playout_part {
    uint32_t kind; /* enum iw_playout_kind */
    uint32_t output_frames;
    uint32_t source_frames;
    int64_t position; /* of the first source frame */
};

struct iw_playout_cleared {
    uint64_t item;
    uint64_t heard_frames;    /* frames of the item that are heard, with the fade */
    uint64_t received_frames; /* frames of the item that were pushed */
    uint64_t cancelled_marks;
};

enum iw_playout_event_type {
    IW_PLAYOUT_ITEM_STARTED = 1, /* the first frame of the item was played */
    IW_PLAYOUT_ITEM_DONE = 2,    /* the last frame of the item was played */
    IW_PLAYOUT_ITEM_CLEARED = 3, /* `position` frames of the item were heard */
    IW_PLAYOUT_MARK = 4,         /* the playout reached the mark `tag` */
    IW_PLAYOUT_MARK_CANCELLED = 5,
    IW_PLAYOUT_STALL = 6,
    IW_PLAYOUT_RESUME = 7,
    IW_PLAYOUT_DRAIN = 8,
    IW_PLAYOUT_SKIP = 9 /* live: audio was skipped to reduce the delay */
};

struct iw_playout_event {
    uint32_t type;
    uint64_t item;    /* for the types that begin with ITEM or MARK */
    uint64_t tag;     /* for the types that begin with MARK */
    int64_t position; /* in the item; for the types from IW_PLAYOUT_STALL on, in the stream */
    uint64_t time_ns; /* for the types from IW_PLAYOUT_STALL on; 0 for the others */
};

struct iw_playout_stats {
    uint64_t received_frames; /* accepted by a push */
    uint64_t stale_frames;    /* refused, because the item was cleared or has ended */
    uint64_t refused_frames;  /* refused, because the capacity was used up */
    uint64_t resyncs;         /* live: new time bases, after long pauses or timestamp jumps */
    uint64_t clears;
    uint64_t pulled_frames; /* output; the sum of the next five fields */
    uint64_t played_frames;
    uint64_t concealed_frames;
    uint64_t held_frames;
    uint64_t idle_frames;
    uint64_t faded_frames;
    uint64_t inserted_frames;  /* output frames that time scaling added */
    uint64_t removed_frames;   /* source frames that time scaling removed */
    uint64_t lost_frames;      /* source frames that never arrived or arrived too late */
    uint64_t late_frames;      /* source frames that arrived after their time of play */
    uint64_t duplicate_frames; /* source frames that arrived twice */
    uint64_t skipped_frames;   /* live: source frames skipped to reduce the delay */
    uint64_t stalls;
    uint64_t stalled_frames; /* output frames during stalls */
    uint64_t interruptions;  /* stalls of 150 ms and more */
    uint64_t missed_events;  /* events dropped because iw_playout_poll was not called */
    uint64_t queued_frames;  /* received and not played */
    double target_delay_ms;  /* live: target of delay_ms; burst: the start threshold */
    double delay_ms;         /* live: delay of the last frame relative to the fastest packet */
    uint32_t state;          /* enum iw_playout_state */
};

/*
 * Create a playout. Only this function and the functions that push and mark allocate memory.
 * IW_BAD_ARGUMENT: a field of `config` is out of its range.
 */
enum iw_status iw_playout_create(struct iw_playout **playout,
                                 const struct iw_playout_config *config);

/* Free a playout and its queue. NULL is allowed. No other call may be running. */
void iw_playout_destroy(struct iw_playout *playout);

/*
 * Append `frames` frames to an item. If the push fails, no frame is appended. Zero frames are
 * allowed, to end an item.
 *
 * IW_NO_ROOM: the queue would exceed the capacity. IW_STALE: the item was cleared, has ended,
 * or another item has followed it. IW_NO_MEMORY: memory could not be allocated.
 */
enum iw_status iw_playout_push(struct iw_playout *playout, const uint8_t *samples,
                               size_t frames, uint64_t item, uint32_t flags, uint64_t now_ns);

/*
 * Push a packet with an RTP timestamp, which counts frames and wraps at 2^32. The results are
 * as for iw_playout_push. Packets may arrive in any order, twice, or not at all. A jump of
 * more than 5 s starts a new time base.
 */
enum iw_status iw_playout_push_at(struct iw_playout *playout, const uint8_t *samples,
                                  size_t frames, uint64_t item, uint32_t timestamp,
                                  uint32_t flags, uint64_t now_ns);

/*
 * Push a packet with only a sequence number, which wraps at 2^16. The results are as for
 * iw_playout_push. All packets must have the same size, except the last packet of an item.
 */
enum iw_status iw_playout_push_sequence(struct iw_playout *playout, const uint8_t *samples,
                                        size_t frames, uint64_t item, uint16_t sequence,
                                        uint32_t flags, uint64_t now_ns);

/*
 * Write the next `frames` frames of output. If there is too little to play, the rest is
 * silence. Returns how many frames are audio. Consumer only.
 */
size_t iw_playout_pull(struct iw_playout *playout, uint8_t *out, size_t frames,
                       uint64_t now_ns);

/*
 * Copy the parts of the last pull's output. Returns the count, at most `capacity`. Consumer
 * only.
 */
size_t iw_playout_parts(const struct iw_playout *playout, struct iw_playout_part *parts,
                        size_t capacity);

/*
 * Drop all queued audio, except a fade of config.fade_ms. For each item that is not heard to
 * its end, report how many of its frames are heard. These counts never change, because later
 * pushes to these items are refused. The marks that were not reached are cancelled.
 *
 * cleared         out, an array of `capacity` items; IW_PLAYOUT_ITEMS are always enough
 * latency_frames  frames that the device has pulled and will drop
 *
 * Returns the count of items. If `cleared` is too small, returns IW_NO_ROOM and changes
 * nothing.
 */
ptrdiff_t iw_playout_clear(struct iw_playout *playout, struct iw_playout_cleared *cleared,
                           size_t capacity, uint64_t latency_frames);

/*
 * Return the position up to which the stream was pulled.
 *
 * iw_playout_position and iw_playout_poll have an argument `until`. The argument may be the
 * result of this function, this result minus the frames that the device has not played yet, or
 * the result of iw_track_position. A larger position is replaced by the result of this
 * function.
 */
int64_t iw_playout_pulled(const struct iw_playout *playout);

/*
 * Return the count of frames of an item before a position, at most the count of received
 * frames. IW_STALE: the item is unknown.
 */
int64_t iw_playout_position(const struct iw_playout *playout, uint64_t item, int64_t until);

/*
 * Add a mark: report an event with `tag` when `offset_frames` frames of an item are played. The
 * item may be pushed later. A mark after the end of the item fires at the end. Each mark fires
 * once. Marks fire in the order of their offsets.
 * IW_NO_ROOM: too many marks are waiting. IW_STALE: the item was cleared.
 */
enum iw_status iw_playout_mark(struct iw_playout *playout, uint64_t item,
                               uint64_t offset_frames, uint64_t tag);

/* Copy the events that are before a position and were not copied yet. Returns the count. */
ptrdiff_t iw_playout_poll(struct iw_playout *playout, struct iw_playout_event *events,
                          size_t capacity, int64_t until);

/*
 * If `paused` is not zero, fade out and pause from the next pull on. If `paused` is zero,
 * continue.
 */
void iw_playout_pause(struct iw_playout *playout, int paused);

/* Read the statistics. Each value is exact, but the values may be from different pulls. */
void iw_playout_stats(const struct iw_playout *playout, struct iw_playout_stats *stats);

/*
 * Return the time of the system's monotonic clock. The device's callback and the producer use
 * this time for `now_ns`.
 */
uint64_t iw_playout_clock_ns(void);

/* cffi: end */

#endif
