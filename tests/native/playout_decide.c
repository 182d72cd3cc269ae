/*
 * The decision of the playout in every kind of situation.
 *
 *   cc -std=c11 -Icsrc tests/native/playout_decide.c csrc/playout/iwp_decide.c -o playout_decide
 *
 * 16 kHz: 160 frames are 10 ms. Prints each case that fails.
 */
#include <stdbool.h>
#include <stdio.h>

#include "playout/iwp_decide.h"

enum { MS10 = 160 };

struct scene {
    const char *sentence;
    enum iwp_step expected;
    bool live;
    struct iwp_situation now;
};

/* A stream that plays, with a second of audio queued, so the step is to copy it. */
#define PLAYING                                                                                \
    .state = IW_PLAYOUT_PLAYING, .started = true, .stretch = true, .frames_per_10ms = MS10,    \
    .need_frames = MS10, .level_frames = 100 * MS10, .limit_ms = 1500, .tokens_frames = 10,    \
    .threshold_frames = 12 * MS10
#define PREBUFFERING PLAYING, .state = IW_PLAYOUT_PREBUFFERING
#define STALLED PLAYING, .state = IW_PLAYOUT_STALLED
#define EMPTY .level_frames = 0

#ifdef __GNUC__
/* A later field of a scene replaces the value from the macros above. */
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif

static const struct scene scenes[] = {
    /* Both modes. */
    {"silence before anything came", IWP_STEP_IDLE, true, {PLAYING, .started = false}},
    {"silence before anything came", IWP_STEP_IDLE, false, {PLAYING, .started = false}},
    {"plain sound", IWP_STEP_COPY, true, {PLAYING}},
    {"plain sound", IWP_STEP_COPY, false, {PLAYING}},
    {"no sound is left", IWP_STEP_STALL, true, {PLAYING, EMPTY}},
    {"no sound is left", IWP_STEP_STALL, false, {PLAYING, EMPTY}},
    {"a packet is missing", IWP_STEP_CONCEAL_GAP, true, {PLAYING, EMPTY, .gap_frames = 320}},
    {"a packet is missing", IWP_STEP_CONCEAL_GAP, false, {PLAYING, EMPTY, .gap_frames = 320}},
    {"a packet that was due during the stall is missing",
     IWP_STEP_PASS_GAP,
     true,
     {STALLED, EMPTY, .gap_frames = 320, .stalled_frames = 160}},
    {"the same in burst mode",
     IWP_STEP_PASS_GAP,
     false,
     {STALLED, EMPTY, .gap_frames = 320, .stalled_frames = 160}},

    /* Live: start and end. */
    {"the target is not reached", IWP_STEP_IDLE, true, {PREBUFFERING, .start_wait_ms = 0.1}},
    {"the target is reached", IWP_STEP_START, true, {PREBUFFERING, .start_wait_ms = 0}},
    {"all of it is there",
     IWP_STEP_START,
     true,
     {PREBUFFERING, .start_wait_ms = 50, .end_known = true}},
    {"nothing is queued to start with", IWP_STEP_IDLE, true, {PREBUFFERING, EMPTY}},
    {"the end was played", IWP_STEP_DRAIN, true, {PLAYING, EMPTY, .at_end = true}},
    {"the end was played long ago",
     IWP_STEP_IDLE,
     true,
     {PLAYING, EMPTY, .at_end = true, .state = IW_PLAYOUT_DRAINED}},

    /* Live: stalls. */
    {"sound is back", IWP_STEP_RESUME, true, {STALLED, .resume_wait_ms = 0}},
    {"sound is back, but the link chatters",
     IWP_STEP_WAIT,
     true,
     {STALLED, .resume_wait_ms = 20}},
    {"the last of it is back",
     IWP_STEP_RESUME,
     true,
     {STALLED, .resume_wait_ms = 20, .end_known = true}},
    {"nothing is back", IWP_STEP_STALL, true, {STALLED, EMPTY}},

    /* Live: the delay and its target. */
    {"12 ms above the target is well enough",
     IWP_STEP_SHRINK_PAUSE,
     true,
     {PLAYING, .error_ms = 12}},
    {"more than that is shed", IWP_STEP_SHRINK, true, {PLAYING, .error_ms = 12.1}},
    {"not if the budget is spent",
     IWP_STEP_SHRINK_PAUSE,
     true,
     {PLAYING, .error_ms = 50, .tokens_frames = 0}},
    {"not even in a pause when it is overdrawn",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .tokens_frames = -MS10}},
    {"not with 30 ms queued",
     IWP_STEP_SHRINK,
     true,
     {PLAYING, .error_ms = 50, .level_frames = 3 * MS10}},
    {"not with less",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .level_frames = 3 * MS10 - 1}},
    {"a period that does not fit is not tried twice",
     IWP_STEP_SHRINK_PAUSE,
     true,
     {PLAYING, .error_ms = 50, .tried = IWP_TRIED_STRETCH}},
    {"nor a pause",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .tried = IWP_TRIED_STRETCH | IWP_TRIED_PAUSE}},
    {"3 ms below the target is well enough", IWP_STEP_COPY, true, {PLAYING, .error_ms = -3}},
    {"less than that is built up", IWP_STEP_GROW, true, {PLAYING, .error_ms = -3.1}},
    {"fixed speed leaves it", IWP_STEP_COPY, true, {PLAYING, .error_ms = 50, .stretch = false}},
    {"too far behind", IWP_STEP_SKIP, true, {PLAYING, .error_ms = 1500.1}},
    {"too far behind at fixed speed",
     IWP_STEP_SKIP,
     true,
     {PLAYING, .error_ms = 1500.1, .stretch = false}},
    {"too far behind with nothing to skip",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 1500.1, .level_frames = MS10}},

    /* Burst: start and end. */
    {"below the threshold",
     IWP_STEP_IDLE,
     false,
     {PREBUFFERING, .level_frames = 12 * MS10 - 1}},
    {"at the threshold", IWP_STEP_START, false, {PREBUFFERING, .level_frames = 12 * MS10}},
    {"one frame and the end",
     IWP_STEP_START,
     false,
     {PREBUFFERING, .level_frames = 1, .end_known = true}},
    {"the end alone", IWP_STEP_IDLE, false, {PREBUFFERING, EMPTY, .end_known = true}},
    {"the end was played", IWP_STEP_END_ITEM, false, {PLAYING, EMPTY, .at_end = true}},
    {"the end is known after the stall",
     IWP_STEP_END_ITEM,
     false,
     {STALLED, EMPTY, .at_end = true}},

    /* Burst: running low and running out. */
    {"250 ms are enough", IWP_STEP_COPY, false, {PLAYING, .level_frames = 25 * MS10}},
    {"less is stretched", IWP_STEP_GROW, false, {PLAYING, .level_frames = 25 * MS10 - 1}},
    {"unless the end is known",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 24 * MS10, .end_known = true}},
    {"or the budget is spent",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 24 * MS10, .tokens_frames = 0}},
    {"60 ms are not held", IWP_STEP_GROW, false, {PLAYING, .level_frames = 6 * MS10}},
    {"less is, in a pause", IWP_STEP_HOLD, false, {PLAYING, .level_frames = 6 * MS10 - 1}},
    {"where no pause is, it is stretched",
     IWP_STEP_GROW,
     false,
     {PLAYING, .level_frames = 5 * MS10, .tried = IWP_TRIED_HOLD}},
    {"where no period is, it is played",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 5 * MS10, .tried = IWP_TRIED_HOLD | IWP_TRIED_STRETCH}},
    {"fixed speed plays it",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 5 * MS10, .stretch = false}},
    {"80 ms end a stall", IWP_STEP_RESUME, false, {STALLED, .level_frames = 8 * MS10}},
    {"less does not", IWP_STEP_WAIT, false, {STALLED, .level_frames = 8 * MS10 - 1}},
    {"unless it is the last",
     IWP_STEP_RESUME,
     false,
     {STALLED, .level_frames = 1, .end_known = true}},
    {"burst never leaves sound out", IWP_STEP_COPY, false, {PLAYING, .error_ms = 9000}},
};

int main(void)
{
    size_t count = sizeof scenes / sizeof *scenes;
    size_t failed = 0;

    for (size_t i = 0; i < count; i++) {
        const struct scene *scene = &scenes[i];
        enum iwp_step step =
            scene->live ? iwp_decide_live(&scene->now) : iwp_decide_burst(&scene->now);

        if (step == scene->expected)
            continue;
        failed++;
        printf("%s, %s: expected step %d, got %d\n", scene->live ? "live" : "burst",
               scene->sentence, scene->expected, step);
    }
    printf("%zu scenes, %zu failed\n", count, failed);
    return failed > 0;
}
