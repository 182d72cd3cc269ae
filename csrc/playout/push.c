/* The push: makes a segment with a position from a packet, and updates the estimators. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "playout/iwp_playout.h"

#define RESYNC_MS 5000.0    /* a longer jump is a new time base, not a gap */
#define OVERTAKEN_MS 1000.0 /* how far a packet may be before the first arrived packet */
#define ROUNDING 1e-6       /* the tolerance of rounding, as a fraction of a pull's period */

/* The place of a packet in the stream. */
struct place {
    int64_t position;
    bool appended; /* the packet has no number */
    bool reordered;
    bool rebased; /* the time base is new, so earlier transits cannot be compared */
};

void iwp_reclaim(struct iw_playout *playout)
{
    struct iwp_producer *producer = &playout->producer;
    uint64_t answered = iwp_load(&playout->shared.answered);

    while (producer->oldest != producer->newest) {
        struct iwp_segment *segment = producer->oldest;

        if (segment->generation >= answered && !iwp_load(&segment->done))
            return;
        producer->oldest = iwp_load_pointer(&segment->next);
        producer->held_frames -= segment->frames;
        free(segment);
    }
}

static size_t queued_frames(const struct iw_playout *playout)
{
    const struct iwp_producer *producer = &playout->producer;
    int64_t played = iwp_commit_position(iwp_load(&playout->shared.commit));
    int64_t first = (int64_t)iwp_load(&playout->shared.first_position);

    return (size_t)(producer->write_position - (played > first ? played : first));
}

/* ---- arrival ----------------------------------------------------------------------------- */

/* Return when the consumer can use a packet that arrives now: at the next pull. */
static double arrival_ms(const struct iw_playout *playout, uint64_t now_ns, bool *rounded)
{
    double pulled_ns = (double)iwp_load(&playout->shared.pulled_ns);
    double period_ns = (double)iwp_load(&playout->shared.period_ns);
    double pulls;

    *rounded = period_ns > 0;
    if (!*rounded)
        return (double)now_ns / IWP_NS_PER_MS;
    pulls = ceil(((double)now_ns - pulled_ns) / period_ns - ROUNDING);
    pulls = pulls < 1 ? 1 : pulls;
    return (pulled_ns + pulls * period_ns) / IWP_NS_PER_MS;
}

static uint64_t signed_ns(double ms)
{
    return (uint64_t)(int64_t)(ms * IWP_NS_PER_MS);
}

/*
 * Return whether a packet is so late that it starts a new time base.
 *
 * A packet without a number is late whenever its source has paused. If such a packet is later
 * than the largest delay, it starts a new time base. Otherwise all audio after the packet would
 * be skipped.
 */
static bool is_new_base(const struct iw_playout *playout, const struct place *place,
                        double transit_ms)
{
    const struct iwp_estimator *estimator = &playout->producer.estimator;
    double limit_ms = playout->config.max_delay_ms + (place->appended ? 0 : RESYNC_MS);

    return estimator->started && transit_ms - estimator->base_ms > limit_ms;
}

static void teach_estimator(struct iw_playout *playout, const struct place *place,
                            size_t frames, uint64_t now_ns)
{
    struct iwp_producer *producer = &playout->producer;
    double per_ms = playout->config.sample_rate_hz / 1000.0;
    double source_ms = (double)place->position / per_ms;
    bool rounded;
    double time_ms = arrival_ms(playout, now_ns, &rounded);
    bool late = is_new_base(playout, place, time_ms - source_ms);

    /* Also restart at the first pull, because later arrival times are rounded up to pulls. */
    if (place->rebased || late || rounded != producer->estimator_rounded)
        iwp_estimator_restart(&producer->estimator);
    iwp_add(&playout->shared.resyncs, late);
    producer->estimator_rounded = rounded;
    /* A delay shorter than the time between two pulls has no effect. */
    producer->estimator.min_delay_ms =
        fmax(playout->config.min_delay_ms,
             (double)iwp_load(&playout->shared.period_ns) / IWP_NS_PER_MS);
    iwp_estimator_arrival(&producer->estimator, source_ms, time_ms - source_ms,
                          (double)frames / per_ms, place->reordered);
    iwp_store(&playout->shared.target_ns,
              signed_ns(iwp_estimator_target_ms(&producer->estimator)));
    iwp_store(&playout->shared.base_ns, signed_ns(producer->estimator.base_ms));
}

static void teach_start(struct iw_playout *playout, size_t frames, bool last, uint64_t now_ns)
{
    struct iwp_producer *producer = &playout->producer;
    double per_ms = playout->config.sample_rate_hz / 1000.0;
    bool rounded;

    iwp_start_chunk(&producer->start, arrival_ms(playout, now_ns, &rounded),
                    (double)frames / per_ms, last);
    if (playout->start_frames == 0)
        iwp_store(&playout->shared.threshold_frames,
                  iwp_frames(playout, iwp_start_threshold_ms(&producer->start)));
}

/* ---- places ------------------------------------------------------------------------------ */

/*
 * Without timestamps, the time between two items is unknown, so each item has a new time base.
 */
static struct place place_behind(const struct iw_playout *playout, const struct iwp_item *item)
{
    return (struct place){
        .position = playout->producer.write_position,
        .appended = true,
        .rebased = item->order == IWP_NOT_BEGUN,
    };
}

/*
 * Return the first place of a new time base. At the start of a stream, there is room before
 * this place, because earlier packets may arrive later.
 */
static struct place place_anew(const struct iw_playout *playout)
{
    struct place place = {.position = playout->producer.write_position, .rebased = true};

    if (playout->producer.fresh)
        place.position += (int64_t)iwp_frames(playout, OVERTAKEN_MS);
    return place;
}

/*
 * Return the place `ahead_frames` after the newest packet. If the distance is too large, return
 * the first place of a new time base.
 */
static struct place place_on(struct iw_playout *playout, struct iwp_timeline *timeline,
                             int64_t ahead_frames, uint32_t number)
{
    int64_t limit = (int64_t)iwp_frames(playout, RESYNC_MS);
    struct place place = {
        .position = timeline->position + ahead_frames,
        .reordered = ahead_frames < 0,
    };

    if (!timeline->set || ahead_frames > limit || ahead_frames < -limit) {
        if (timeline->set)
            iwp_add(&playout->shared.resyncs, 1);
        place = place_anew(playout);
    }
    if (!place.reordered) {
        timeline->set = true;
        timeline->number = number;
        timeline->position = place.position;
    }
    return place;
}

/* ---- segments ---------------------------------------------------------------------------- */

static struct iwp_segment *make_segment(const struct iw_playout *playout, size_t frames)
{
    struct iwp_segment *segment = malloc(sizeof *segment + frames * playout->input_frame_bytes);

    if (segment == NULL)
        return NULL;
    memset(segment, 0, sizeof *segment);
    segment->frames = frames;
    segment->samples = (uint8_t *)(segment + 1);
    return segment;
}

/*
 * Return whether `frames` more frames fit. Queued frames may use the whole capacity. Played
 * frames that are not freed yet may use the same amount again.
 */
static bool has_room(struct iw_playout *playout, size_t frames)
{
    iwp_reclaim(playout);
    return frames <= playout->capacity_frames &&
           queued_frames(playout) + frames <= playout->capacity_frames &&
           playout->producer.held_frames + frames <= 2 * playout->capacity_frames;
}

/* Update the item, then pass the segment to the consumer. */
static void publish(struct iw_playout *playout, struct iwp_segment *segment,
                    struct iwp_item *item, const struct place *place, uint32_t flags)
{
    struct iwp_producer *producer = &playout->producer;
    int64_t end = place->position + (int64_t)segment->frames;
    bool last = (flags & IW_PLAYOUT_END_OF_ITEM) != 0;

    if (item->order == IWP_NOT_BEGUN)
        iwp_item_begin(playout, item, place->position);
    item->start = place->position < item->start ? place->position : item->start;
    item->end = end > item->end ? end : item->end;
    item->ended = item->ended || last;
    if (producer->fresh || place->position < (int64_t)iwp_load(&playout->shared.first_position))
        iwp_store(&playout->shared.first_position, (uint64_t)place->position);
    producer->fresh = false;
    if (end > producer->write_position) {
        producer->write_position = end;
        iwp_store(&playout->shared.write_position, (uint64_t)end);
    }
    iwp_add(&playout->shared.received_frames, segment->frames);
    segment->position = place->position;
    segment->flags = last ? IWP_SEGMENT_END : 0;
    segment->generation = producer->generation;
    producer->held_frames += segment->frames;
    iwp_store_pointer(&producer->newest->next, segment);
    producer->newest = segment;
}

/* Update the estimator before the segment is published: the consumer needs the target first. */
static void arrive(struct iw_playout *playout, struct iwp_segment *segment,
                   struct iwp_item *item, const struct place *place, uint32_t flags,
                   uint64_t now_ns)
{
    bool last = (flags & IW_PLAYOUT_END_OF_ITEM) != 0;

    if (playout->config.mode == IW_PLAYOUT_BURST)
        teach_start(playout, segment->frames, last, now_ns);
    else if (segment->frames > 0)
        teach_estimator(playout, place, segment->frames, now_ns);
    publish(playout, segment, item, place, flags);
}

static enum iw_status refuse(struct iw_playout *playout, enum iw_status status, size_t frames)
{
    iwp_add(status == IW_STALE ? &playout->shared.stale_frames
                               : &playout->shared.refused_frames,
            frames);
    return status;
}

static enum iw_status admit(struct iw_playout *playout, const uint8_t *samples, size_t frames,
                            struct iwp_item *item, const struct place *place, uint32_t flags,
                            uint64_t now_ns)
{
    struct iwp_segment *segment;

    if (frames == 0 && !(flags & IW_PLAYOUT_END_OF_ITEM))
        return IW_OK;
    if (place->position < playout->producer.floor_position)
        return refuse(playout, IW_STALE, frames);
    if (!has_room(playout, frames))
        return refuse(playout, IW_NO_ROOM, frames);
    segment = make_segment(playout, frames);
    if (segment == NULL)
        return refuse(playout, IW_NO_MEMORY, frames);
    if (frames > 0)
        memcpy(segment->samples, samples, frames * playout->input_frame_bytes);
    arrive(playout, segment, item, place, flags, now_ns);
    return IW_OK;
}

/* ---- the calls --------------------------------------------------------------------------- */

/*
 * Find or create an item. Audio can be appended to a new item, and to the newest item if it has
 * not ended.
 */
static enum iw_status open_to_append(struct iw_playout *playout, struct iwp_item **item,
                                     uint64_t id)
{
    bool newest;

    *item = iwp_item_open(playout, id);
    if (*item == NULL)
        return IW_NO_ROOM;
    newest = !(*item)->ended && (*item)->order + 1 == playout->producer.items_order;
    if ((*item)->cleared || ((*item)->order != IWP_NOT_BEGUN && !newest))
        return IW_STALE;
    return IW_OK;
}

enum iw_status iw_playout_push(struct iw_playout *playout, const uint8_t *samples,
                               size_t frames, uint64_t item_id, uint32_t flags, uint64_t now_ns)
{
    struct iwp_item *item;
    struct place place;
    enum iw_status status = open_to_append(playout, &item, item_id);

    if (status != IW_OK)
        return refuse(playout, status, frames);
    place = place_behind(playout, item);
    return admit(playout, samples, frames, item, &place, flags, now_ns);
}

enum iw_status iw_playout_push_at(struct iw_playout *playout, const uint8_t *samples,
                                  size_t frames, uint64_t item_id, uint32_t timestamp,
                                  uint32_t flags, uint64_t now_ns)
{
    struct iwp_timeline *timeline = &playout->producer.timestamps;
    struct iwp_item *item = iwp_item_open(playout, item_id);
    struct place place;

    if (item == NULL || item->cleared)
        return refuse(playout, item == NULL ? IW_NO_ROOM : IW_STALE, frames);
    place = place_on(playout, timeline, (int32_t)(timestamp - timeline->number), timestamp);
    return admit(playout, samples, frames, item, &place, flags, now_ns);
}

enum iw_status iw_playout_push_sequence(struct iw_playout *playout, const uint8_t *samples,
                                        size_t frames, uint64_t item_id, uint16_t sequence,
                                        uint32_t flags, uint64_t now_ns)
{
    struct iwp_timeline *timeline = &playout->producer.sequences;
    struct iwp_item *item = iwp_item_open(playout, item_id);
    struct place place;
    int16_t ahead;

    if (item == NULL || item->cleared)
        return refuse(playout, item == NULL ? IW_NO_ROOM : IW_STALE, frames);
    if (!timeline->set)
        timeline->packet_frames = frames;
    ahead = (int16_t)(uint16_t)(sequence - timeline->number);
    if (item->order == IWP_NOT_BEGUN && ahead > 0 && timeline->set)
        /*
         * The last packet of an item may be short. The next item begins right after the packet.
         */
        timeline->position =
            playout->producer.write_position - ahead * (int64_t)timeline->packet_frames;
    place = place_on(playout, timeline, ahead * (int64_t)timeline->packet_frames, sequence);
    return admit(playout, samples, frames, item, &place, flags, now_ns);
}
