/* Decides what to play next. */
#include "playout/iwp_decide.h"

/* Live: there is no time scaling while the delay minus its target is within these bounds. */
#define SHRINK_ABOVE_MS 12.0
#define SHRINK_PAUSE_ABOVE_MS 4.0
#define GROW_BELOW_MS (-3.0)

/* Burst: amounts of queued audio, in units of 10 ms. */
enum { LOW = 25, HOLD_BELOW = 6, RESUME = 8, NEXT_ITEM_AT_ONCE = 30 };

static enum iwp_step decide_empty(const struct iwp_situation *now)
{
    if (now->gap_frames == 0)
        return IWP_STEP_STALL;
    return now->stalled_frames > 0 ? IWP_STEP_PASS_GAP : IWP_STEP_CONCEAL_GAP;
}

static enum iwp_step regulate(const struct iwp_situation *now)
{
    size_t look = 2 * now->frames_per_10ms;
    bool enough = now->level_frames >= now->need_frames + look;
    bool may_stretch = now->tokens_frames > 0 && !(now->tried & IWP_TRIED_STRETCH);

    if (now->error_ms > now->limit_ms && now->level_frames > now->need_frames)
        return IWP_STEP_SKIP;
    if (!now->stretch)
        return IWP_STEP_COPY;
    if (may_stretch && enough && now->error_ms > SHRINK_ABOVE_MS)
        return IWP_STEP_SHRINK;
    if (may_stretch && now->error_ms < GROW_BELOW_MS)
        return IWP_STEP_GROW;
    /*
     * A pause may be shortened by 10 ms more than the budget, because the difference is not
     * audible.
     */
    if (!(now->tried & IWP_TRIED_PAUSE) && enough && now->error_ms > SHRINK_PAUSE_ABOVE_MS &&
        now->tokens_frames > -(double)now->frames_per_10ms)
        return IWP_STEP_SHRINK_PAUSE;
    return IWP_STEP_COPY;
}

enum iwp_step iwp_decide_live(const struct iwp_situation *now)
{
    if (!now->started)
        return IWP_STEP_IDLE;
    if (now->at_end)
        return now->state == IW_PLAYOUT_DRAINED ? IWP_STEP_IDLE : IWP_STEP_DRAIN;
    if (now->state != IW_PLAYOUT_PLAYING && now->state != IW_PLAYOUT_STALLED) {
        bool queued = now->level_frames > 0 || now->gap_frames > 0;
        bool ready = now->end_known || now->start_wait_ms <= 0;

        return queued && ready ? IWP_STEP_START : IWP_STEP_IDLE;
    }
    if (now->level_frames == 0)
        return decide_empty(now);
    if (now->state == IW_PLAYOUT_STALLED)
        return now->resume_wait_ms > 0 && !now->end_known ? IWP_STEP_WAIT : IWP_STEP_RESUME;
    return regulate(now);
}

bool iwp_runs_low(const struct iwp_situation *now)
{
    return now->stretch && !now->end_known && now->level_frames < LOW * now->frames_per_10ms;
}

bool iwp_goes_on(const struct iwp_situation *now)
{
    bool plenty = now->level_frames > NEXT_ITEM_AT_ONCE * now->frames_per_10ms;

    return now->level_frames > 0 && (now->end_known || plenty);
}

static enum iwp_step decide_waiting(const struct iwp_situation *now)
{
    bool ready = now->end_known || now->level_frames >= now->threshold_frames;

    return now->level_frames > 0 && ready ? IWP_STEP_START : IWP_STEP_IDLE;
}

enum iwp_step iwp_decide_burst(const struct iwp_situation *now)
{
    size_t unit = now->frames_per_10ms;

    if (!now->started)
        return IWP_STEP_IDLE;
    if (now->state != IW_PLAYOUT_PLAYING && now->state != IW_PLAYOUT_STALLED)
        return decide_waiting(now);
    if (now->at_end)
        return IWP_STEP_END_ITEM;
    if (now->level_frames == 0 && (now->gap_frames > 0 || now->state == IW_PLAYOUT_PLAYING))
        return decide_empty(now);
    if (now->state == IW_PLAYOUT_STALLED) {
        bool ready = now->end_known || now->level_frames >= RESUME * unit;

        return now->level_frames > 0 && ready ? IWP_STEP_RESUME : IWP_STEP_WAIT;
    }
    if (iwp_runs_low(now)) {
        if (now->level_frames < HOLD_BELOW * unit && !(now->tried & IWP_TRIED_HOLD))
            return IWP_STEP_HOLD;
        if (now->tokens_frames > 0 && !(now->tried & IWP_TRIED_STRETCH))
            return IWP_STEP_GROW;
    }
    return IWP_STEP_COPY;
}
