/*
 * Decides what to play next. Included by the playout's files.
 *
 * The consumer describes its situation, calls iwp_decide_live or iwp_decide_burst, and performs
 * the returned step. The consumer repeats this until its block is full. The functions have no
 * state, no clock and no side effects, so a test needs only a situation and the expected step.
 */
#ifndef IWP_DECIDE_H
#define IWP_DECIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "include/iw_playout.h"

enum iwp_step {
    IWP_STEP_IDLE,         /* fill the block with silence: there is nothing to play */
    IWP_STEP_START,        /* begin to play */
    IWP_STEP_END_ITEM,     /* burst: end the current item, which was played to its end */
    IWP_STEP_DRAIN,        /* live: end all items, which were played to their ends */
    IWP_STEP_PASS_GAP,     /* skip lost audio that the concealment of a stall has replaced */
    IWP_STEP_CONCEAL_GAP,  /* conceal lost audio */
    IWP_STEP_STALL,        /* the audio ran out: conceal until more arrives */
    IWP_STEP_WAIT,         /* stay stalled */
    IWP_STEP_RESUME,       /* end the stall */
    IWP_STEP_SKIP,         /* live: skip audio, because the delay is far too large */
    IWP_STEP_SHRINK,       /* remove a period */
    IWP_STEP_SHRINK_PAUSE, /* remove 10 ms if there is a pause here */
    IWP_STEP_GROW,         /* repeat a period */
    IWP_STEP_HOLD,         /* burst: stop playing if there is a pause here */
    IWP_STEP_COPY          /* play the audio unchanged */
};

/*
 * Steps that the audio did not allow. These steps are not returned again until a frame was
 * made.
 */
enum iwp_tried { IWP_TRIED_STRETCH = 1, IWP_TRIED_PAUSE = 2, IWP_TRIED_HOLD = 4 };

struct iwp_situation {
    enum iw_playout_state state;
    bool started;   /* the position is set, because a first segment has arrived */
    bool end_known; /* live: the end of an item is known; burst: the end is queued */
    bool at_end;    /* the position is the end of an item */
    bool stretch;   /* time scaling is allowed */
    unsigned tried; /* enum iwp_tried */
    size_t frames_per_10ms;
    size_t need_frames;      /* frames that are missing to fill the block */
    size_t level_frames;     /* queued audio without a gap */
    size_t gap_frames;       /* length of the gap after this audio; 0 if no audio follows */
    size_t stalled_frames;   /* frames of this stall, minus lost audio that was skipped */
    size_t threshold_frames; /* burst: queued audio that is needed to start */
    double start_wait_ms;    /* live: time until the target delay is reached */
    double resume_wait_ms;   /* live: time until a repeated stall may end */
    double error_ms;         /* live: delay minus target delay */
    double limit_ms;         /* live: above this error, audio is skipped */
    double tokens_frames;    /* budget of time scaling */
};

enum iwp_step iwp_decide_live(const struct iwp_situation *now);
enum iwp_step iwp_decide_burst(const struct iwp_situation *now);

/* Burst: return whether the next item starts at once, without prebuffering. */
bool iwp_goes_on(const struct iwp_situation *now);

/* Burst: return whether to slow down, because little is queued and the item has not ended. */
bool iwp_runs_low(const struct iwp_situation *now);

#endif
