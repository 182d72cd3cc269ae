/*
 * What to play next, as pure functions of what is known. Included by the playout's files.
 *
 * The consumer describes its situation, asks, does as it is answered, and asks again until its
 * block is full. Nothing here has a state, a clock or a side effect, so every rule can be
 * tested by writing down a situation.
 */
#ifndef IWP_DECIDE_H
#define IWP_DECIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "include/iw_playout.h"

enum iwp_step {
    IWP_STEP_IDLE,         /* fill the block with silence: nothing has to be heard */
    IWP_STEP_START,        /* begin to play */
    IWP_STEP_END_ITEM,     /* burst: leave the item that was played */
    IWP_STEP_DRAIN,        /* live: all that was announced is played */
    IWP_STEP_PASS_GAP,     /* jump over what the stall already covered */
    IWP_STEP_CONCEAL_GAP,  /* conceal lost sound, in its place */
    IWP_STEP_STALL,        /* the sound ran out: conceal until it is back */
    IWP_STEP_WAIT,         /* stay stalled */
    IWP_STEP_RESUME,       /* leave the stall */
    IWP_STEP_SKIP,         /* live: far behind, jump */
    IWP_STEP_SHRINK,       /* leave out a period */
    IWP_STEP_SHRINK_PAUSE, /* leave out 10 ms, if a pause is played */
    IWP_STEP_GROW,         /* repeat a period */
    IWP_STEP_HOLD,         /* burst: stop here, if a pause is played */
    IWP_STEP_COPY          /* play as it is */
};

/* Steps that may turn out to be impossible, and then are not asked for again in this round. */
enum iwp_tried { IWP_TRIED_STRETCH = 1, IWP_TRIED_PAUSE = 2, IWP_TRIED_HOLD = 4 };

struct iwp_situation {
    enum iw_playout_state state;
    bool started;   /* a first segment gave the position */
    bool end_known; /* live: an end is announced; burst: it lies within the level */
    bool at_end;    /* the position is an announced end */
    bool stretch;   /* time scaling is allowed */
    unsigned tried; /* enum iwp_tried */
    size_t frames_per_10ms;
    size_t need_frames;      /* to fill the block */
    size_t level_frames;     /* unbroken sound that is queued */
    size_t gap_frames;       /* lost or late sound behind it; 0 when nothing is queued beyond */
    size_t stalled_frames;   /* of the present stall that stand for no lost sound yet */
    size_t threshold_frames; /* burst: needed to start */
    double start_wait_ms;    /* live: until the target delay is reached */
    double resume_wait_ms;   /* live: how long a repeated stall is drawn out */
    double error_ms;         /* live: the delay above the target */
    double limit_ms;         /* live: the error from which on sound is skipped */
    double tokens_frames;    /* what may be stretched now */
};

enum iwp_step iwp_decide_live(const struct iwp_situation *now);
enum iwp_step iwp_decide_burst(const struct iwp_situation *now);

/* Burst: whether the next item follows the one that ends without being prebuffered. */
bool iwp_goes_on(const struct iwp_situation *now);

/* Burst: with less queued and no end in sight the sound is slowed down. */
bool iwp_runs_low(const struct iwp_situation *now);

#endif
