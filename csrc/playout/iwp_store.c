/* Segments of audio, passed from the producer to the consumer. */
#include "playout/iwp_store.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "include/iw_playout.h"

void iwp_store_init(struct iwp_store *store, size_t sample_bytes, size_t channels,
                    struct iwp_segment *cursor)
{
    memset(store, 0, sizeof *store);
    store->sample_bytes = sample_bytes;
    store->channels = channels;
    store->cursor = cursor;
    cursor->later = NULL;
    store->spent = cursor;
}

void iwp_store_reset(struct iwp_store *store, struct iwp_segment *cursor)
{
    store->first = store->last = store->beyond = NULL;
    /*
     * The segments that were spent in the undone pull need no release. A segment of the old
     * generation is freed at once. A segment after the cursor will be admitted again.
     */
    store->cursor = cursor;
    cursor->later = NULL;
    store->spent = cursor;
}

static int64_t end_of(const struct iwp_segment *segment)
{
    return segment->position + (int64_t)segment->frames;
}

static void spend(struct iwp_store *store, struct iwp_segment *segment)
{
    segment->later = store->spent;
    store->spent = segment;
}

struct iwp_segment *iwp_store_next(struct iwp_store *store)
{
    struct iwp_segment *next = iwp_load_pointer(&store->cursor->next);

    if (next != NULL)
        store->cursor = next;
    return next;
}

/* Move the edge to the end of each segment that begins before the edge or at the edge. */
static void stretch_edge(struct iwp_store *store)
{
    while (store->beyond != NULL && store->beyond->position <= store->edge) {
        if (end_of(store->beyond) > store->edge)
            store->edge = end_of(store->beyond);
        store->beyond = store->beyond->later;
    }
}

/* Return the segment after which this position belongs; NULL: at the front. */
static struct iwp_segment *place_of(const struct iwp_store *store, int64_t position)
{
    struct iwp_segment *before = store->last;

    while (before != NULL && before->position > position)
        before = before->earlier;
    return before;
}

static void link_after(struct iwp_store *store, struct iwp_segment *segment,
                       struct iwp_segment *before)
{
    struct iwp_segment *after = before != NULL ? before->later : store->first;

    segment->earlier = before;
    segment->later = after;
    if (before != NULL)
        before->later = segment;
    else
        store->first = segment;
    if (after != NULL)
        after->earlier = segment;
    else
        store->last = segment;
}

enum iwp_admission iwp_store_admit(struct iwp_store *store, struct iwp_segment *segment)
{
    struct iwp_segment *before;

    if (segment->frames == 0) {
        spend(store, segment);
        return IWP_ADMITTED;
    }
    if (end_of(segment) <= store->position) {
        spend(store, segment);
        return IWP_LATE;
    }
    before = place_of(store, segment->position);
    if (before != NULL && end_of(before) >= end_of(segment)) {
        spend(store, segment);
        return IWP_DUPLICATE;
    }
    link_after(store, segment, before);
    if (store->beyond == segment->later)
        store->beyond = segment;
    else if (segment->position <= store->edge && end_of(segment) > store->edge)
        store->edge = end_of(segment); /* the segment covers the old edge */
    stretch_edge(store);
    return IWP_ADMITTED;
}

void iwp_store_seek(struct iwp_store *store, int64_t position)
{
    bool back = position < store->position;

    store->position = position;
    while (store->first != NULL && end_of(store->first) <= position) {
        struct iwp_segment *played = store->first;

        store->first = played->later;
        if (store->first != NULL)
            store->first->earlier = NULL;
        else
            store->last = NULL;
        if (store->beyond == played)
            store->beyond = store->first;
        spend(store, played);
    }
    if (back || store->edge < position) {
        store->edge = position;
        store->beyond = store->first;
    }
    stretch_edge(store);
}

size_t iwp_store_level(const struct iwp_store *store)
{
    return (size_t)(store->edge - store->position);
}

size_t iwp_store_gap(const struct iwp_store *store)
{
    return store->beyond != NULL ? (size_t)(store->beyond->position - store->edge) : 0;
}

static void convert(const struct iwp_store *store, float *dst, const uint8_t *src, size_t count)
{
    if (store->sample_bytes != sizeof *dst) {
        iw_pcm_f32_from_s16((uint8_t *)dst, src, count);
        return;
    }
    memcpy(dst, src, count * sizeof *dst);
    for (size_t i = 0; i < count; i++)
        dst[i] = fabsf(dst[i]) <= FLT_MAX ? dst[i] : 0; /* a NaN would stay in the history */
}

size_t iwp_store_read(const struct iwp_store *store, float *dst, size_t frames)
{
    size_t frame_bytes = store->sample_bytes * store->channels;
    size_t level = iwp_store_level(store);
    size_t done = 0;

    frames = frames < level ? frames : level;
    for (const struct iwp_segment *segment = store->first; done < frames;
         segment = segment->later) {
        int64_t at = store->position + (int64_t)done;
        size_t skip = (size_t)(at - segment->position);
        size_t count;

        if (end_of(segment) <= at)
            continue; /* earlier segments have all frames of this segment */
        count = segment->frames - skip;
        count = count < frames - done ? count : frames - done;
        convert(store, dst + done * store->channels, segment->samples + skip * frame_bytes,
                count * store->channels);
        done += count;
    }
    return done;
}

void iwp_store_release(struct iwp_store *store)
{
    struct iwp_segment *segment = store->spent;

    store->spent = NULL;
    while (segment != NULL) {
        /* The producer may free a segment when `done` is set, so `later` is read first. */
        struct iwp_segment *later = segment->later;

        if (segment == store->cursor)
            spend(store, segment);
        else
            iwp_store(&segment->done, 1);
        segment = later;
    }
}
