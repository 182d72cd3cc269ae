/*
 * The state of the playout, in three parts. Included by the playout's files.
 *
 * There are no locks. These rules replace locks:
 * - Only the thread that pulls uses `consumer`. Only the thread that holds the caller's lock
 *   uses `producer`.
 * - `shared` contains atomic words. Each word except `commit` has one writer, which the struct
 *   names.
 * - `commit` is epoch | fade | position. The consumer changes the position and the fade, and a
 *   clear changes the epoch, each with one compare-and-swap.
 * - The consumer first prepares a whole block, and the fade that is played if a clear comes
 *   after the block. Then the consumer commits. If a clear changed `commit` before this step,
 *   the consumer drops the block, plays the fade of the previous block, and continues at the
 *   position that the clear has set.
 * - So a clear determines at once which frames are heard: the frames up to the position in
 *   `commit`, and the frames of the fade in `commit`. No thread waits.
 * - If a clear made a commit fail, the consumer restores its counters and drops its new events.
 *   Then the consumer applies the clear, which sets the other fields again. Counters, events
 *   and segments to free are published only after a commit.
 *
 * An epoch has 10 bits. Two epochs are confused only after 1024 clears during one pull.
 * A position has 44 bits: 11 years at 48 kHz.
 */
#ifndef IWP_PLAYOUT_H
#define IWP_PLAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/iwp_atomic.h"
#include "common/iwp_compiler.h"
#include "include/iw_playout.h"
#include "playout/iwp_estimator.h"
#include "playout/iwp_conceal.h"
#include "playout/iwp_decide.h"
#include "playout/iwp_fifo.h"
#include "playout/iwp_start.h"
#include "playout/iwp_store.h"

#define IWP_NS_PER_MS 1e6

enum {
    IWP_FADE_FRAMES_MAX = IWP_RATE_MAX_HZ / 100,
    IWP_LOOK_FRAMES_MAX = IWP_RATE_MAX_HZ * 42 / 1000, /* two periods and a window */
    IWP_STALL_TIMES = 6,
    IWP_PENDING = 16, /* the limit of events of one pull; more events count as missed */
    IWP_RING = 256,   /* the limit of events between two polls; a power of two */
    /*
     * Besides the events of marks, one clear adds at most two events for each item: a start
     * event, and then an end event or a clear event.
     */
    IWP_PENDING_EVENTS_LEAST = 2 * IW_PLAYOUT_ITEMS
};

/* ---- the commit word --------------------------------------------------------------------- */

enum { IWP_EPOCH_BITS = 10, IWP_FADE_BITS = 10, IWP_POSITION_BITS = 44 };
#define IWP_EPOCHS (1u << IWP_EPOCH_BITS)
#define IWP_FADE_SOURCE_MAX ((1 << IWP_FADE_BITS) - 1)

IWP_INLINE uint64_t iwp_commit_word(uint64_t epoch, uint64_t fade, int64_t position)
{
    return (epoch % IWP_EPOCHS) << (IWP_FADE_BITS + IWP_POSITION_BITS) |
           fade << IWP_POSITION_BITS | (uint64_t)position;
}

IWP_INLINE uint64_t iwp_commit_epoch(uint64_t word)
{
    return word >> (IWP_FADE_BITS + IWP_POSITION_BITS);
}

IWP_INLINE int64_t iwp_commit_fade(uint64_t word)
{
    return (int64_t)(word >> IWP_POSITION_BITS & IWP_FADE_SOURCE_MAX);
}

IWP_INLINE int64_t iwp_commit_position(uint64_t word)
{
    return (int64_t)(word & (((uint64_t)1 << IWP_POSITION_BITS) - 1));
}

/* ---- shared ------------------------------------------------------------------------------ */

/* Where the consumer continues after a clear. Written before the epoch changes. */
struct iwp_resumption {
    struct iwp_word generation;
    struct iwp_word position;
    struct iwp_word silent; /* not zero: no fade, since the device drops the old frames */
    struct iwp_pointer cursor;
};

/* The counters of the consumer. */
enum iwp_count {
    IWP_COUNT_PLAYED,
    IWP_COUNT_CONCEALED,
    IWP_COUNT_HELD,
    IWP_COUNT_IDLE,
    IWP_COUNT_FADED,
    IWP_COUNT_INSERTED,
    IWP_COUNT_REMOVED,
    IWP_COUNT_LOST,
    IWP_COUNT_LATE,
    IWP_COUNT_DUPLICATE,
    IWP_COUNT_SKIPPED,
    IWP_COUNT_STALLS,
    IWP_COUNT_STALLED,
    IWP_COUNT_INTERRUPTIONS,
    IWP_COUNT_MISSED_EVENTS,
    IWP_COUNTS
};

struct iwp_notice {
    uint32_t type; /* enum iw_playout_event_type */
    int64_t position;
    uint64_t time_ns;
};

struct iwp_shared {
    struct iwp_word commit;
    /* Written by the consumer. */
    struct iwp_word answered; /* the generation of the last clear that was handled */
    struct iwp_word pulled_ns;
    struct iwp_word period_ns;
    struct iwp_word state;
    struct iwp_word offset_ns; /* live: play time minus source time, signed */
    struct iwp_word counts[IWP_COUNTS];
    struct iwp_word notices_written;
    struct iwp_notice notices[IWP_RING];
    /* Written by the producer. An entry of `resumptions` is used again two clears later. */
    struct iwp_resumption resumptions[2];
    struct iwp_word notices_read;
    struct iwp_word target_ns; /* live: the target offset, signed */
    struct iwp_word base_ns;   /* live: the offset of the fastest packet, signed */
    struct iwp_word threshold_frames;
    struct iwp_word received_frames;
    struct iwp_word stale_frames;
    struct iwp_word refused_frames;
    struct iwp_word resyncs;
    struct iwp_word clears;
    struct iwp_word missed_events;
    struct iwp_word write_position;
    struct iwp_word first_position; /* of the audio that was pushed since the last clear */
    /* Written by any thread. */
    struct iwp_word paused;
};

/* ---- the consumer ------------------------------------------------------------------------ */

/* The fade that is played if a clear follows a commit. */
struct iwp_fade_tail {
    size_t frames;
    size_t source_frames;
    float samples[IWP_FADE_FRAMES_MAX * IWP_CHANNELS_MAX];
};

struct iwp_consumer {
    struct iwp_store store;
    struct iwp_fifo fifo;
    struct iwp_conceal conceal;
    struct iwp_pause pause;
    enum iw_playout_state state;
    uint64_t epoch;
    int64_t heard; /* the position after all output so far */
    bool started;  /* the position is set, because a first segment has arrived */
    bool holding;  /* stalled on purpose, in a pause of the audio */
    bool budgeted; /* the budget of this block for time scaling was already added */
    bool paused;
    int64_t ends[IW_PLAYOUT_ITEMS]; /* positions where items end, in order */
    size_t ends_count;
    double tokens_frames;
    size_t stalled_frames; /* frames of this stall, minus lost audio that was skipped */
    size_t stall_frames;   /* all frames of this stall */
    bool resume_set;
    double resume_ns;
    double stall_times_ns[IWP_STALL_TIMES]; /* newest first */
    size_t stall_times_count;
    double clock_ns; /* the time of this pull, smoothed */
    double block_ns; /* the time at which this block is played */
    double period_ns;
    struct iwp_fade_tail fade_tails[2]; /* of the last commit and of the next commit */
    size_t fade_tail;
    float fade[IWP_FADE_FRAMES_MAX * IWP_CHANNELS_MAX]; /* the fade tail that is being played */
    size_t fading_frames;
    size_t fading_source;
    int64_t fading_position;
    size_t faded_frames;
    uint64_t counts[IWP_COUNTS];
    struct iwp_notice pending[IWP_PENDING];
    size_t pending_count;
    struct iw_playout_part parts[IW_PLAYOUT_PARTS];
    size_t parts_count;
    float look[IWP_LOOK_FRAMES_MAX * IWP_CHANNELS_MAX];
};

/* ---- the producer ------------------------------------------------------------------------ */

#define IWP_NOT_BEGUN UINT64_MAX

struct iwp_item {
    uint64_t id;
    uint64_t order; /* the number of the item in order of first push, or IWP_NOT_BEGUN */
    int64_t start;
    int64_t end;
    int64_t heard; /* heard frames; set by a clear */
    bool ended;
    bool cleared;
    bool started_emitted;
    bool done_emitted;
};

struct iwp_mark {
    uint64_t item;
    uint64_t order;
    uint64_t offset;
    uint64_t tag;
};

/* Maps RTP timestamps or sequence numbers to positions. */
struct iwp_timeline {
    bool set;
    uint32_t number; /* of the newest packet */
    int64_t position;
    size_t packet_frames; /* for sequence numbers only */
};

struct iwp_producer {
    struct iwp_segment *oldest;
    struct iwp_segment *newest;
    size_t held_frames; /* frames in all segments that are not freed */
    uint64_t generation;
    int64_t write_position;
    int64_t floor_position; /* all audio before this position was cleared */
    bool fresh;             /* nothing was pushed since the last clear */
    struct iwp_timeline timestamps;
    struct iwp_timeline sequences;
    struct iwp_estimator estimator;
    struct iwp_start start;
    bool estimator_rounded; /* transits are rounded up to the next pull */
    struct iwp_item items[IW_PLAYOUT_ITEMS];
    size_t items_count;
    uint64_t items_order;
    struct iwp_mark *marks; /* sorted by order, offset and age */
    size_t marks_count;
    size_t marks_capacity;
    struct iw_playout_event *pending_events; /* events of a clear for the next poll */
    size_t pending_events_count;
    size_t pending_events_capacity;
};

struct iw_playout {
    struct iw_playout_config config;
    size_t input_frame_bytes;
    size_t output_frame_bytes;
    size_t capacity_frames;
    size_t fade_frames;
    size_t start_frames; /* 0: learn the start threshold */
    struct iwp_shared shared;
    struct iwp_consumer consumer;
    struct iwp_producer producer;
};

/* ---- functions of the consumer ----------------------------------------------------------- */

/* Return the count of frames in `ms`, rounded down. */
IWP_INLINE size_t iwp_frames(const struct iw_playout *playout, double ms)
{
    return (size_t)(ms * playout->config.sample_rate_hz / 1000.0);
}

/* Make output until the fifo contains `frames` frames or is full. `frames` is at most 10 ms. */
void iwp_produce(struct iw_playout *playout, size_t frames);

/* Add an event for the next poll. The event is published once this pull is committed. */
void iwp_notify(struct iw_playout *playout, enum iw_playout_event_type type);

/*
 * Add to the fifo the `frames` frames that the caller has written to the free room of the fifo.
 * If a concealment is being played, first cross-fade the concealment to these frames.
 */
void iwp_emit(struct iw_playout *playout, size_t frames, size_t source_frames);

/*
 * Both functions remove 10 ms of a pause. If there is no pause, iwp_shrink removes one period
 * of the audio. A function returns false if the function has removed nothing.
 */
bool iwp_shrink(struct iw_playout *playout, bool urgent);
bool iwp_shrink_pause(struct iw_playout *playout);

/* Insert 10 ms into a pause, or one period of the audio. Returns false if neither fits. */
bool iwp_grow(struct iw_playout *playout, bool urgent);

/* Add to a word that only this thread writes. */
IWP_INLINE void iwp_add(struct iwp_word *word, uint64_t more)
{
    iwp_store(word, iwp_load(word) + more);
}

/* ---- functions of the producer ----------------------------------------------------------- */

/* Return the item, or NULL. */
struct iwp_item *iwp_item_find(const struct iw_playout *playout, uint64_t id);

/* Return the item, or create it. Returns NULL if IW_PLAYOUT_ITEMS items are queued. */
struct iwp_item *iwp_item_open(struct iw_playout *playout, uint64_t id);

/* Start an item: its first audio is at `position`. This ends all earlier items. */
void iwp_item_begin(struct iw_playout *playout, struct iwp_item *item, int64_t position);

/* Return the count of received frames of an item before `position`. */
int64_t iwp_item_heard(const struct iwp_item *item, int64_t position);

/* Return whether the count of heard frames is final: the item was cleared or fully played. */
bool iwp_item_is_over(const struct iwp_item *item, int64_t position);

/*
 * Return the next event of the stream up to `position` that no earlier call has returned: the
 * start of an item, a mark, or the end of an item. Returns false if there is no such event.
 */
bool iwp_next_event(struct iw_playout *playout, int64_t position,
                    struct iw_playout_event *event);

/* Add an event for the next poll. */
void iwp_event_add(struct iw_playout *playout, struct iw_playout_event event);

/* Cancel the marks of an item. Returns the count. */
uint64_t iwp_cancel_marks(struct iw_playout *playout, const struct iwp_item *item);

/* Free the segments that the consumer has released. */
void iwp_reclaim(struct iw_playout *playout);

#endif
