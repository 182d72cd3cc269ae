/*
 * Segments of audio, passed from the producer to the consumer. Included by the playout's files.
 *
 * The producer creates, fills and frees segments. They form a list in the order of arrival. The
 * consumer reads this list with a cursor. The consumer also has a second list, which contains
 * the segments that were not played yet, in the order of position. The consumer releases a
 * segment by setting `done`. It never releases the segment at the cursor, because the consumer
 * needs the `next` of that segment.
 *
 * A clear starts a new generation: the cursor moves to the newest segment of the old
 * generation, and all earlier segments are released at once. So the cost of a clear does not
 * depend on how much is queued.
 *
 * Thread safety: each field names its owner. Only `next` and `done` are shared.
 */
#ifndef IWP_STORE_H
#define IWP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/iwp_atomic.h"

enum iwp_segment_flag {
    IWP_SEGMENT_END = 1 /* the item ends with this segment */
};

struct iwp_segment {
    struct iwp_pointer next; /* in arrival order; the producer appends */
    struct iwp_word done;    /* the consumer has released the segment */
    /* Written by the producer. The first four fields are final when the consumer reads them. */
    int64_t position; /* frames */
    size_t frames;
    unsigned flags;
    uint8_t *samples;
    uint64_t generation;
    /* Used by the consumer. */
    struct iwp_segment *earlier; /* in position order */
    struct iwp_segment *later;
};

/* The audio from `position` on, in position order. Used by the consumer only. */
struct iwp_store {
    size_t sample_bytes;
    size_t channels;
    struct iwp_segment *cursor; /* the last segment that was read from the list of arrival */
    struct iwp_segment *first;  /* the first segment that is not played */
    struct iwp_segment *last;
    struct iwp_segment *beyond; /* the first segment after a gap */
    struct iwp_segment *spent;  /* segments that were played in this pull, linked by `later` */
    int64_t position;           /* the next frame to play */
    int64_t edge;               /* the first gap after position, or the end of the audio */
};

/* The result of iwp_store_admit. */
enum iwp_admission { IWP_ADMITTED, IWP_LATE, IWP_DUPLICATE };

void iwp_store_init(struct iwp_store *store, size_t sample_bytes, size_t channels,
                    struct iwp_segment *cursor);

/* Drop the queue, and continue after `cursor`. */
void iwp_store_reset(struct iwp_store *store, struct iwp_segment *cursor);

/* Move the cursor to the next segment in the order of arrival. Returns the segment, or NULL. */
struct iwp_segment *iwp_store_next(struct iwp_store *store);

/* Sort the result of iwp_store_next into the store. An empty segment is spent at once. */
enum iwp_admission iwp_store_admit(struct iwp_store *store, struct iwp_segment *segment);

/*
 * Continue at `position`. Segments before this position are spent. The new position may be less
 * than the present position only if nothing of the store was played.
 */
void iwp_store_seek(struct iwp_store *store, int64_t position);

/* Return the count of frames without a gap from `position` on. */
size_t iwp_store_level(const struct iwp_store *store);

/* Return the length of the first gap; 0 if nothing is queued after the gap. */
size_t iwp_store_gap(const struct iwp_store *store);

/* Copy up to `frames` frames, up to a gap, as floats. Returns the count; does not seek. */
size_t iwp_store_read(const struct iwp_store *store, float *dst, size_t frames);

/* Release the segments that were spent, so that the producer can free them. */
void iwp_store_release(struct iwp_store *store);

#endif
