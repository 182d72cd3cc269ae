/*
 * Segments of sound, handed from the producer to the consumer. Included by the playout's files.
 *
 * A segment is made, filled and freed by the producer. Segments hang in one chain in the order
 * of arrival; the consumer walks it with a cursor and keeps a second chain, in the order of
 * position, of those it has not played. It gives a segment back by setting `done`. The segment
 * under the cursor is never given back, since the way to the next one leads through it.
 *
 * A clear begins a new generation: it moves the cursor to the newest segment of the old one and
 * lets all earlier segments go at once, so that its cost does not grow with what is queued.
 *
 * Thread safety: the fields say whose they are. Only `next` and `done` are shared.
 */
#ifndef IWP_STORE_H
#define IWP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/iwp_atomic.h"

enum iwp_segment_flag {
    IWP_SEGMENT_END = 1 /* its item ends where it ends */
};

struct iwp_segment {
    struct iwp_pointer next; /* in arrival order; the producer appends */
    struct iwp_word done;    /* the consumer has no more use for it */
    /* The producer's. The consumer reads the first four, which are final once it sees them. */
    int64_t position; /* frames */
    size_t frames;
    unsigned flags;
    uint8_t *samples;
    uint64_t generation;
    /* The consumer's. */
    struct iwp_segment *earlier; /* in position order */
    struct iwp_segment *later;
};

/* Frames from `position` on, in position order. The consumer's. */
struct iwp_store {
    size_t sample_bytes;
    size_t channels;
    struct iwp_segment *cursor; /* the newest segment that was seen */
    struct iwp_segment *first;  /* the earliest that is not played */
    struct iwp_segment *last;
    struct iwp_segment *beyond; /* the first behind a gap */
    struct iwp_segment *spent;  /* played in this pull, linked by `later` */
    int64_t position;           /* the next frame to play */
    int64_t edge;               /* where unbroken sound from position ends */
};

/* What became of a segment that was put into the store. */
enum iwp_admission { IWP_ADMITTED, IWP_LATE, IWP_DUPLICATE };

void iwp_store_init(struct iwp_store *store, size_t sample_bytes, size_t channels,
                    struct iwp_segment *cursor);

/* Drop all that is queued; go on behind `cursor`. */
void iwp_store_reset(struct iwp_store *store, struct iwp_segment *cursor);

/* The next segment in the order of arrival, or NULL; moves the cursor to it. */
struct iwp_segment *iwp_store_next(struct iwp_store *store);

/* Put a segment that iwp_store_next gave in its place. An empty one is spent at once. */
enum iwp_admission iwp_store_admit(struct iwp_store *store, struct iwp_segment *segment);

/* Play from `position` on. What lies before it is spent. It may go back only while nothing of
 * the store was played. */
void iwp_store_seek(struct iwp_store *store, int64_t position);

/* Frames without a gap from `position` on. */
size_t iwp_store_level(const struct iwp_store *store);

/* Frames that are missing behind them; 0 when nothing is queued beyond. */
size_t iwp_store_gap(const struct iwp_store *store);

/* Copy up to `frames` of the unbroken sound as floats; does not move. Returns the frames. */
size_t iwp_store_read(const struct iwp_store *store, float *dst, size_t frames);

/* Give the segments that were spent back to the producer. */
void iwp_store_release(struct iwp_store *store);

#endif
