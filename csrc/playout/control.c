/* Creates and frees a playout, clears and pauses it, and reads its statistics. */
#include <stdlib.h>
#include <string.h>

#include "playout/iwp_playout.h"

#define START_GAP_COST 250.0 /* the cost of a stall in burst mode, in ms of start delay */
#define RESUME_MS 80.0       /* how much burst mode queues after a stall before it resumes */
#define GAP_COST_MAX 1e12

static bool within(uint32_t value, uint32_t least, uint32_t most)
{
    return value >= least && value <= most;
}

static bool is_valid(const struct iw_playout_config *config)
{
    return within(config->sample_rate_hz, 8000, IWP_RATE_MAX_HZ) &&
           within(config->channels, 1, IWP_CHANNELS_MAX) &&
           within(config->input_format, IW_PLAYOUT_S16, IW_PLAYOUT_F32) &&
           within(config->output_format, IW_PLAYOUT_S16, IW_PLAYOUT_F32) &&
           within(config->mode, IW_PLAYOUT_BURST, IW_PLAYOUT_LIVE) &&
           within(config->min_delay_ms, 0, 1000) &&
           within(config->max_delay_ms, config->min_delay_ms, 10000) &&
           within(config->start_ms, 0, 10000) && within(config->capacity_ms, 10, 3600000) &&
           within(config->fade_ms, 1, 10) && config->gap_cost >= 0 &&
           config->gap_cost <= GAP_COST_MAX;
}

static size_t bytes_of(uint32_t format)
{
    return format == IW_PLAYOUT_F32 ? sizeof(float) : sizeof(int16_t);
}

static void init(struct iw_playout *playout, const struct iw_playout_config *config)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t rate_hz = config->sample_rate_hz;
    size_t channels = config->channels;

    playout->config = *config;
    playout->input_frame_bytes = bytes_of(config->input_format) * channels;
    playout->output_frame_bytes = bytes_of(config->output_format) * channels;
    playout->capacity_frames = iwp_frames(playout, config->capacity_ms);
    playout->fade_frames = iwp_frames(playout, config->fade_ms);
    playout->start_frames = iwp_frames(playout, config->start_ms);
    iwp_store_init(&consumer->store, bytes_of(config->input_format), channels,
                   playout->producer.newest);
    iwp_conceal_init(&consumer->conceal, rate_hz, channels, !config->fixed_silence);
    iwp_pause_init(&consumer->pause, rate_hz);
    consumer->fifo.channels = channels;
    iwp_estimator_init(&playout->producer.estimator, config->gap_cost, config->min_delay_ms,
                       config->max_delay_ms);
    iwp_start_init(&playout->producer.start, START_GAP_COST, RESUME_MS);
    iwp_store(&playout->shared.threshold_frames,
              playout->start_frames > 0
                  ? playout->start_frames
                  : iwp_frames(playout, iwp_start_threshold_ms(&playout->producer.start)));
}

enum iw_status iw_playout_create(struct iw_playout **made,
                                 const struct iw_playout_config *config)
{
    struct iw_playout *playout;
    struct iwp_producer *producer;

    if (!is_valid(config))
        return IW_BAD_ARGUMENT;
    playout = calloc(1, sizeof *playout);
    if (playout == NULL)
        return IW_NO_MEMORY;
    producer = &playout->producer;
    /* The chain of segments is never empty, so a segment can always be appended to its end. */
    producer->oldest = producer->newest = calloc(1, sizeof *producer->newest);
    producer->fresh = true;
    producer->pending_events =
        calloc(IWP_PENDING_EVENTS_LEAST, sizeof *producer->pending_events);
    producer->pending_events_capacity = IWP_PENDING_EVENTS_LEAST;
    if (producer->newest == NULL || producer->pending_events == NULL) {
        iw_playout_destroy(playout);
        return IW_NO_MEMORY;
    }
    init(playout, config);
    *made = playout;
    return IW_OK;
}

void iw_playout_destroy(struct iw_playout *playout)
{
    struct iwp_segment *segment;

    if (playout == NULL)
        return;
    segment = playout->producer.oldest;
    while (segment != NULL) {
        struct iwp_segment *next = iwp_load_pointer(&segment->next);

        free(segment);
        segment = next;
    }
    free(playout->producer.marks);
    free(playout->producer.pending_events);
    free(playout);
}

/* ---- clear ------------------------------------------------------------------------------- */

/* Drop the queue by starting a new generation. Returns the last position that is heard. */
static int64_t begin_generation(struct iw_playout *playout, uint64_t latency_frames)
{
    struct iwp_producer *producer = &playout->producer;
    struct iwp_resumption *resumption;
    uint64_t word = iwp_load(&playout->shared.commit);
    int64_t position;

    producer->generation++;
    /* The consumer will move its cursor to this segment, so the segment is still needed. */
    producer->newest->generation = producer->generation;
    resumption = &playout->shared.resumptions[producer->generation & 1];
    iwp_store(&resumption->generation, producer->generation);
    iwp_store(&resumption->position, (uint64_t)producer->write_position);
    iwp_store(&resumption->silent, latency_frames > 0);
    iwp_store_pointer(&resumption->cursor, producer->newest);
    while (!iwp_swap_if(&playout->shared.commit, &word,
                        iwp_commit_word(producer->generation, (uint64_t)iwp_commit_fade(word),
                                        iwp_commit_position(word))))
        ;
    position = iwp_commit_position(word);
    if (latency_frames > 0)
        return position - (int64_t)latency_frames;
    return position + iwp_commit_fade(word);
}

static void forget_arrivals(struct iw_playout *playout)
{
    struct iwp_producer *producer = &playout->producer;

    producer->floor_position = producer->write_position;
    producer->fresh = true;
    iwp_store(&playout->shared.first_position, (uint64_t)producer->write_position);
    producer->timestamps.set = producer->sequences.set = false;
    iwp_estimator_restart(&producer->estimator);
    iwp_start_abandon(&producer->start);
    iwp_add(&playout->shared.clears, 1);
}

static struct iw_playout_cleared clear_item(struct iw_playout *playout, struct iwp_item *item,
                                            int64_t position)
{
    struct iw_playout_cleared cleared = {.item = item->id};

    item->heard = iwp_item_heard(item, position);
    item->cleared = true;
    cleared.heard_frames = (uint64_t)item->heard;
    if (item->order != IWP_NOT_BEGUN)
        cleared.received_frames = (uint64_t)(item->end - item->start);
    iwp_event_add(playout, (struct iw_playout_event){
                               .type = IW_PLAYOUT_ITEM_CLEARED,
                               .item = item->id,
                               .position = item->heard,
                           });
    cleared.cancelled_marks = iwp_cancel_marks(playout, item);
    return cleared;
}

ptrdiff_t iw_playout_clear(struct iw_playout *playout, struct iw_playout_cleared *cleared,
                           size_t capacity, uint64_t latency_frames)
{
    struct iwp_producer *producer = &playout->producer;
    struct iw_playout_event event;
    size_t count = 0;
    int64_t position;

    if (capacity < producer->items_count)
        return IW_NO_ROOM;
    position = begin_generation(playout, latency_frames);
    while (iwp_next_event(playout, position, &event))
        iwp_event_add(playout, event);
    for (size_t i = 0; i < producer->items_count; i++) {
        if (!iwp_item_is_over(&producer->items[i], position))
            cleared[count++] = clear_item(playout, &producer->items[i], position);
    }
    forget_arrivals(playout);
    return (ptrdiff_t)count;
}

int64_t iw_playout_pulled(const struct iw_playout *playout)
{
    return iwp_commit_position(iwp_load(&playout->shared.commit));
}

int64_t iw_playout_position(const struct iw_playout *playout, uint64_t item_id, int64_t until)
{
    const struct iwp_item *item = iwp_item_find(playout, item_id);
    int64_t pulled = iw_playout_pulled(playout);

    return item == NULL ? IW_STALE : iwp_item_heard(item, until < pulled ? until : pulled);
}

/* ---- statistics -------------------------------------------------------------------------- */

void iw_playout_pause(struct iw_playout *playout, int paused)
{
    iwp_store(&playout->shared.paused, paused != 0);
}

static void count_output(const uint64_t counts[IWP_COUNTS], struct iw_playout_stats *stats)
{
    stats->played_frames = counts[IWP_COUNT_PLAYED];
    stats->concealed_frames = counts[IWP_COUNT_CONCEALED];
    stats->held_frames = counts[IWP_COUNT_HELD];
    stats->idle_frames = counts[IWP_COUNT_IDLE];
    stats->faded_frames = counts[IWP_COUNT_FADED];
    stats->pulled_frames = stats->played_frames + stats->concealed_frames + stats->held_frames +
                           stats->idle_frames + stats->faded_frames;
    stats->inserted_frames = counts[IWP_COUNT_INSERTED];
    stats->removed_frames = counts[IWP_COUNT_REMOVED];
    stats->lost_frames = counts[IWP_COUNT_LOST];
    stats->late_frames = counts[IWP_COUNT_LATE];
    stats->duplicate_frames = counts[IWP_COUNT_DUPLICATE];
    stats->skipped_frames = counts[IWP_COUNT_SKIPPED];
    stats->stalls = counts[IWP_COUNT_STALLS];
    stats->stalled_frames = counts[IWP_COUNT_STALLED];
    stats->interruptions = counts[IWP_COUNT_INTERRUPTIONS];
    stats->missed_events = counts[IWP_COUNT_MISSED_EVENTS];
}

void iw_playout_stats(const struct iw_playout *playout, struct iw_playout_stats *stats)
{
    const struct iwp_shared *shared = &playout->shared;
    double per_ms = playout->config.sample_rate_hz / 1000.0;
    uint64_t counts[IWP_COUNTS];
    uint64_t written;
    uint64_t played;
    uint64_t first;

    memset(stats, 0, sizeof *stats);
    for (size_t i = 0; i < IWP_COUNTS; i++)
        counts[i] = iwp_load(&shared->counts[i]);
    count_output(counts, stats);
    stats->missed_events += iwp_load(&shared->missed_events);
    stats->received_frames = iwp_load(&shared->received_frames);
    stats->stale_frames = iwp_load(&shared->stale_frames);
    stats->refused_frames = iwp_load(&shared->refused_frames);
    stats->resyncs = iwp_load(&shared->resyncs);
    stats->clears = iwp_load(&shared->clears);
    stats->state = (uint32_t)iwp_load(&shared->state);
    played = (uint64_t)iwp_commit_position(iwp_load(&shared->commit));
    written = iwp_load(&shared->write_position);
    first = iwp_load(&shared->first_position);
    played = played > first ? played : first;
    stats->queued_frames = written > played ? written - played : 0;
    if (playout->config.mode == IW_PLAYOUT_LIVE) {
        int64_t base_ns = (int64_t)iwp_load(&shared->base_ns);

        stats->target_delay_ms =
            (double)((int64_t)iwp_load(&shared->target_ns) - base_ns) / IWP_NS_PER_MS;
        stats->delay_ms =
            (double)((int64_t)iwp_load(&shared->offset_ns) - base_ns) / IWP_NS_PER_MS;
    } else {
        stats->target_delay_ms = (double)iwp_load(&shared->threshold_frames) / per_ms;
    }
}
