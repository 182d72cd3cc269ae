/*
 * Makes output: describes the situation, decides and performs the step, until a block is full.
 */
#include <string.h>

#include "playout/iwp_playout.h"
#include "playout/iwp_rate.h"

#define NS_PER_S 1e9
#define BURST_SLOW_DOWN 0.12 /* the part of the time that time scaling may add */
#define TOKENS_MAX_MS 20.0   /* the largest budget of time scaling */
#define INTERRUPTION_MS 150.0
#define SKIP_LEAVES_MS 20.0 /* the delay above the target after a skip */
#define URGENT_ABOVE_MS 80.0
#define URGENT_BELOW_MS (-40.0)
/*
 * If a connection is slower than real time, playback stalls again and again. Each stall doubles
 * the amount that is queued before playing resumes.
 */
#define CHATTER_NS 1e9
#define CHATTER_FIRST_MS 20.0
#define CHATTER_DOUBLINGS 3 /* so at most 160 ms */
#define HOLD_MS 10.0        /* how much of a pause is played before the playout stops there */

static double ns_of(const struct iw_playout *playout, int64_t frames)
{
    return (double)frames * NS_PER_S / playout->config.sample_rate_hz;
}

/* Return when the next frame that is made will be played. */
static double now_ns(const struct iw_playout *playout)
{
    const struct iwp_consumer *consumer = &playout->consumer;

    return consumer->block_ns + ns_of(playout, (int64_t)consumer->fifo.frames);
}

static double ms_above(const struct iw_playout *playout, const struct iwp_word *target)
{
    double offset_ns = now_ns(playout) - ns_of(playout, playout->consumer.store.position);

    return (offset_ns - (double)(int64_t)iwp_load(target)) / IWP_NS_PER_MS;
}

void iwp_notify(struct iw_playout *playout, enum iw_playout_event_type type)
{
    struct iwp_consumer *consumer = &playout->consumer;

    if (consumer->pending_count == IWP_PENDING) {
        consumer->counts[IWP_COUNT_MISSED_EVENTS]++;
        return;
    }
    consumer->pending[consumer->pending_count++] = (struct iwp_notice){
        .type = type,
        .position = consumer->store.position,
        .time_ns = (uint64_t)now_ns(playout),
    };
}

static void look_at_live(const struct iw_playout *playout, struct iwp_situation *now)
{
    const struct iwp_consumer *consumer = &playout->consumer;
    size_t ends = consumer->ends_count;

    now->end_known = ends > 0;
    now->at_end = ends > 0 && consumer->store.first == NULL &&
                  consumer->store.position >= consumer->ends[ends - 1];
    now->error_ms = ms_above(playout, &playout->shared.target_ns);
    now->start_wait_ms = -now->error_ms;
    now->limit_ms = playout->config.max_delay_ms;
    now->resume_wait_ms =
        consumer->resume_set ? (consumer->resume_ns - now_ns(playout)) / IWP_NS_PER_MS : 0;
}

static void look_at_burst(const struct iw_playout *playout, struct iwp_situation *now)
{
    const struct iwp_consumer *consumer = &playout->consumer;
    int64_t position = consumer->store.position;

    now->end_known =
        consumer->ends_count > 0 && consumer->ends[0] <= position + (int64_t)now->level_frames;
    now->at_end = consumer->ends_count > 0 && consumer->ends[0] <= position;
    now->threshold_frames = (size_t)iwp_load(&playout->shared.threshold_frames);
}

static struct iwp_situation look_around(const struct iw_playout *playout, size_t need,
                                        unsigned tried)
{
    const struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_situation now = {
        .state = consumer->state,
        .started = consumer->started,
        .stretch = !playout->config.fixed_speed,
        .tried = tried,
        .frames_per_10ms = playout->config.sample_rate_hz / 100,
        .need_frames = need,
        .level_frames = iwp_store_level(&consumer->store),
        .gap_frames = iwp_store_gap(&consumer->store),
        .stalled_frames = consumer->stalled_frames,
        .tokens_frames = consumer->tokens_frames,
    };

    if (playout->config.mode == IW_PLAYOUT_LIVE)
        look_at_live(playout, &now);
    else
        look_at_burst(playout, &now);
    return now;
}

/* Add the time scaling budget of a block, once per block. */
static void grant_tokens(struct iwp_consumer *consumer, struct iwp_situation *now, bool live,
                         size_t block)
{
    double error_ms = now->error_ms < 0 ? -now->error_ms : now->error_ms;

    if (consumer->budgeted || now->state != IW_PLAYOUT_PLAYING || now->level_frames == 0)
        return;
    if (live)
        consumer->tokens_frames += iwp_stretch_rate(error_ms) * (double)block;
    else if (iwp_runs_low(now))
        consumer->tokens_frames += BURST_SLOW_DOWN * (double)block;
    else
        return;
    consumer->budgeted = true;
    now->tokens_frames = consumer->tokens_frames;
}

/* If audio has arrived in a stall, set when to resume. Repeated stalls resume later. */
static void plan_resume(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    double time_ns = consumer->block_ns;
    double wait_ms = CHATTER_FIRST_MS;
    size_t recent = 0;

    if (playout->config.mode != IW_PLAYOUT_LIVE || consumer->state != IW_PLAYOUT_STALLED ||
        consumer->resume_set || iwp_store_level(&consumer->store) == 0)
        return;
    while (recent < consumer->stall_times_count &&
           time_ns - consumer->stall_times_ns[recent] < CHATTER_NS)
        recent++;
    for (size_t i = 1; i < recent && i <= CHATTER_DOUBLINGS; i++)
        wait_ms *= 2;
    consumer->resume_ns = time_ns + (recent > 0 ? wait_ms * IWP_NS_PER_MS : 0);
    consumer->resume_set = true;
    consumer->stall_times_count = recent < IWP_STALL_TIMES ? recent : IWP_STALL_TIMES - 1;
    memmove(consumer->stall_times_ns + 1, consumer->stall_times_ns,
            consumer->stall_times_count * sizeof *consumer->stall_times_ns);
    consumer->stall_times_ns[0] = time_ns;
    consumer->stall_times_count++;
}

static void add_made(struct iw_playout *playout, enum iw_playout_kind kind, size_t frames,
                     size_t source_frames)
{
    struct iwp_consumer *consumer = &playout->consumer;
    float *samples = iwp_fifo_end(&consumer->fifo);
    struct iw_playout_part part = {
        .kind = kind,
        .output_frames = (uint32_t)frames,
        .source_frames = (uint32_t)source_frames,
        .position = consumer->store.position,
    };

    if (kind == IW_PLAYOUT_CONCEALED)
        iwp_conceal_make(&consumer->conceal, samples, frames);
    else
        memset(samples, 0, frames * playout->config.channels * sizeof *samples);
    iwp_fifo_add(&consumer->fifo, part);
}

static void lose(struct iw_playout *playout, size_t frames)
{
    struct iwp_consumer *consumer = &playout->consumer;

    consumer->counts[IWP_COUNT_LOST] += frames;
    iwp_store_seek(&consumer->store, consumer->store.position + (int64_t)frames);
}

static void stall(struct iw_playout *playout, size_t frames)
{
    struct iwp_consumer *consumer = &playout->consumer;

    if (consumer->state != IW_PLAYOUT_STALLED) {
        consumer->state = IW_PLAYOUT_STALLED;
        consumer->holding = false;
        consumer->resume_set = false;
        consumer->stall_frames = 0;
        consumer->counts[IWP_COUNT_STALLS]++;
        iwp_notify(playout, IW_PLAYOUT_STALL);
    }
    add_made(playout, consumer->holding ? IW_PLAYOUT_HELD : IW_PLAYOUT_CONCEALED, frames, 0);
    consumer->stalled_frames += frames;
    if (!consumer->holding) {
        consumer->stall_frames += frames;
        consumer->counts[IWP_COUNT_STALLED] += frames;
    }
}

static void leave_stall(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;

    if (!consumer->holding) {
        if (consumer->stall_frames >= iwp_frames(playout, INTERRUPTION_MS))
            consumer->counts[IWP_COUNT_INTERRUPTIONS]++;
        iwp_notify(playout, IW_PLAYOUT_RESUME);
    }
    consumer->state = IW_PLAYOUT_PLAYING;
    consumer->holding = false;
    consumer->resume_set = false;
    consumer->stalled_frames = 0;
}

/*
 * Do not count this stall: the item was complete, but its end arrived only after the stall
 * began.
 */
static void take_stall_back(struct iwp_consumer *consumer)
{
    if (!consumer->holding) {
        consumer->counts[IWP_COUNT_STALLS]--;
        consumer->counts[IWP_COUNT_STALLED] -= consumer->stall_frames;
    }
    consumer->holding = false;
    consumer->stalled_frames = 0;
}

static void end_item(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    struct iwp_situation now;

    memmove(consumer->ends, consumer->ends + 1,
            --consumer->ends_count * sizeof *consumer->ends);
    if (consumer->state == IW_PLAYOUT_STALLED)
        take_stall_back(consumer);
    consumer->state = IW_PLAYOUT_PLAYING;
    now = look_around(playout, 0, 0);
    if (iwp_goes_on(&now))
        return;
    consumer->state = IW_PLAYOUT_PREBUFFERING;
    iwp_conceal_stop(&consumer->conceal);
    if (consumer->store.first == NULL && consumer->ends_count == 0) {
        consumer->state = IW_PLAYOUT_DRAINED;
        iwp_notify(playout, IW_PLAYOUT_DRAIN);
    }
}

static void drain(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;

    if (consumer->state == IW_PLAYOUT_STALLED)
        take_stall_back(consumer);
    consumer->state = IW_PLAYOUT_DRAINED;
    consumer->ends_count = 0;
    iwp_conceal_stop(&consumer->conceal);
    iwp_notify(playout, IW_PLAYOUT_DRAIN);
}

static void skip(struct iw_playout *playout, const struct iwp_situation *now)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t late = iwp_frames(playout, now->error_ms - SKIP_LEAVES_MS);
    size_t most = now->level_frames - now->need_frames;
    size_t frames = late < most ? late : most;

    iwp_conceal_make(&consumer->conceal, NULL, 0); /* for the cross-fade after the skip */
    consumer->counts[IWP_COUNT_SKIPPED] += frames;
    iwp_store_seek(&consumer->store, consumer->store.position + (int64_t)frames);
    iwp_notify(playout, IW_PLAYOUT_SKIP);
}

static void copy(struct iw_playout *playout, size_t frames)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t block = playout->config.sample_rate_hz / 100;
    size_t count;

    frames = frames < block ? frames : block;
    if (playout->config.mode == IW_PLAYOUT_BURST && consumer->ends_count > 0) {
        int64_t left = consumer->ends[0] - consumer->store.position;

        frames = (int64_t)frames < left ? frames : (size_t)left;
    }
    count = iwp_store_read(&consumer->store, iwp_fifo_end(&consumer->fifo), frames);
    consumer->stalled_frames = 0;
    iwp_emit(playout, count, count);
}

/* If there is a pause here, play the start of the pause and stop. The stop is not audible. */
static bool hold(struct iw_playout *playout)
{
    struct iwp_consumer *consumer = &playout->consumer;
    size_t look = 2 * iwp_frames(playout, HOLD_MS);

    if (iwp_store_read(&consumer->store, consumer->look, look) < look ||
        !iwp_pause_test(&consumer->pause, consumer->look, look, playout->config.channels))
        return false;
    copy(playout, iwp_frames(playout, HOLD_MS));
    consumer->state = IW_PLAYOUT_STALLED;
    consumer->holding = true;
    return true;
}

/* Perform a step that only changes the state. */
static void turn(struct iw_playout *playout, enum iwp_step step,
                 const struct iwp_situation *now)
{
    switch (step) {
    case IWP_STEP_START:
        playout->consumer.state = IW_PLAYOUT_PLAYING;
        playout->consumer.stalled_frames = 0;
        break;
    case IWP_STEP_END_ITEM: end_item(playout); break;
    case IWP_STEP_DRAIN: drain(playout); break;
    case IWP_STEP_RESUME: leave_stall(playout); break;
    case IWP_STEP_SKIP: skip(playout, now); break;
    case IWP_STEP_PASS_GAP: {
        size_t covered =
            now->gap_frames < now->stalled_frames ? now->gap_frames : now->stalled_frames;

        playout->consumer.stalled_frames -= covered;
        lose(playout, covered);
        break;
    }
    default: break;
    }
}

/* Perform a step. Returns 0, or the enum iwp_tried of a step that was not possible. */
static unsigned act(struct iw_playout *playout, enum iwp_step step,
                    const struct iwp_situation *now)
{
    bool live = playout->config.mode == IW_PLAYOUT_LIVE;

    switch (step) {
    case IWP_STEP_IDLE: add_made(playout, IW_PLAYOUT_IDLE, now->need_frames, 0); return 0;
    case IWP_STEP_CONCEAL_GAP: {
        size_t lost = now->gap_frames < now->need_frames ? now->gap_frames : now->need_frames;

        add_made(playout, IW_PLAYOUT_CONCEALED, lost, lost);
        lose(playout, lost);
        return 0;
    }
    case IWP_STEP_STALL:
    case IWP_STEP_WAIT: stall(playout, now->need_frames); return 0;
    case IWP_STEP_SHRINK:
        return iwp_shrink(playout, now->error_ms > URGENT_ABOVE_MS) ? 0 : IWP_TRIED_STRETCH;
    case IWP_STEP_SHRINK_PAUSE: return iwp_shrink_pause(playout) ? 0 : IWP_TRIED_PAUSE;
    case IWP_STEP_GROW:
        return iwp_grow(playout, live && now->error_ms < URGENT_BELOW_MS) ? 0
                                                                          : IWP_TRIED_STRETCH;
    case IWP_STEP_HOLD: return hold(playout) ? 0 : IWP_TRIED_HOLD;
    case IWP_STEP_COPY: copy(playout, now->need_frames); return 0;
    default: turn(playout, step, now); return 0;
    }
}

/*
 * The loop ends, because each step does one of these things:
 * - make at least one frame
 * - remove an end, a gap or a stall, of which there are finitely many
 * - fail, and be marked as tried until a frame is made
 */
void iwp_produce(struct iw_playout *playout, size_t frames)
{
    struct iwp_consumer *consumer = &playout->consumer;
    bool live = playout->config.mode == IW_PLAYOUT_LIVE;
    double tokens_max = TOKENS_MAX_MS * playout->config.sample_rate_hz / 1000.0;
    unsigned tried = 0;

    consumer->budgeted = false;
    if (consumer->tokens_frames > tokens_max)
        consumer->tokens_frames = tokens_max;
    while (consumer->fifo.frames < frames && iwp_fifo_has_room(&consumer->fifo)) {
        size_t before = consumer->fifo.frames;
        struct iwp_situation now;
        enum iwp_step step;

        plan_resume(playout);
        now = look_around(playout, frames - before, tried);
        grant_tokens(consumer, &now, live, frames);
        step = live ? iwp_decide_live(&now) : iwp_decide_burst(&now);
        tried |= act(playout, step, &now);
        if (consumer->fifo.frames > before)
            tried = 0;
    }
}
