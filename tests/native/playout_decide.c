/*
 * This program tests the decision of the playout in every kind of situation.
 *
 *   cc -std=c11 -Icsrc tests/native/playout_decide.c csrc/playout/iwp_decide.c -o playout_decide
 *
 * The sample rate is 16 kHz, so 160 frames are 10 ms. The program prints each case that fails.
 */
#include <stdbool.h>
#include <stdio.h>

#include "playout/iwp_decide.h"

enum { MS10 = 160 };

struct decision_case {
    const char *sentence;
    enum iwp_step expected;
    bool live;
    struct iwp_situation now;
};

/* A stream plays and has a second of audio in the queue. The right step is to copy audio. */
#define PLAYING                                                                                \
    .state = IW_PLAYOUT_PLAYING, .started = true, .stretch = true, .frames_per_10ms = MS10,    \
    .need_frames = MS10, .level_frames = 100 * MS10, .limit_ms = 1500, .tokens_frames = 10,    \
    .threshold_frames = 12 * MS10
#define PREBUFFERING PLAYING, .state = IW_PLAYOUT_PREBUFFERING
#define STALLED PLAYING, .state = IW_PLAYOUT_STALLED
#define EMPTY .level_frames = 0

#ifdef __GNUC__
/* A later field of a case replaces the value from the macros above. */
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif

static const struct decision_case cases[] = {
    /* Both modes. */
    {"no audio has arrived", IWP_STEP_IDLE, true, {PLAYING, .started = false}},
    {"no audio has arrived", IWP_STEP_IDLE, false, {PLAYING, .started = false}},
    {"enough audio is queued", IWP_STEP_COPY, true, {PLAYING}},
    {"enough audio is queued", IWP_STEP_COPY, false, {PLAYING}},
    {"the queue is empty", IWP_STEP_STALL, true, {PLAYING, EMPTY}},
    {"the queue is empty", IWP_STEP_STALL, false, {PLAYING, EMPTY}},
    {"a packet is missing", IWP_STEP_CONCEAL_GAP, true, {PLAYING, EMPTY, .gap_frames = 320}},
    {"a packet is missing", IWP_STEP_CONCEAL_GAP, false, {PLAYING, EMPTY, .gap_frames = 320}},
    {"a packet that was due during the stall is missing",
     IWP_STEP_PASS_GAP,
     true,
     {STALLED, EMPTY, .gap_frames = 320, .stalled_frames = 160}},
    {"a packet that was due during the stall is missing",
     IWP_STEP_PASS_GAP,
     false,
     {STALLED, EMPTY, .gap_frames = 320, .stalled_frames = 160}},

    /* Live: start and end. */
    {"the target delay is not reached",
     IWP_STEP_IDLE,
     true,
     {PREBUFFERING, .start_wait_ms = 0.1}},
    {"the target delay is reached", IWP_STEP_START, true, {PREBUFFERING, .start_wait_ms = 0}},
    {"the whole item is queued",
     IWP_STEP_START,
     true,
     {PREBUFFERING, .start_wait_ms = 50, .end_known = true}},
    {"the queue is empty before the start", IWP_STEP_IDLE, true, {PREBUFFERING, EMPTY}},
    {"the end was played", IWP_STEP_DRAIN, true, {PLAYING, EMPTY, .at_end = true}},
    {"the end was played long ago",
     IWP_STEP_IDLE,
     true,
     {PLAYING, EMPTY, .at_end = true, .state = IW_PLAYOUT_DRAINED}},

    /* Live: stalls. */
    {"audio has arrived in a stall", IWP_STEP_RESUME, true, {STALLED, .resume_wait_ms = 0}},
    {"audio has arrived after repeated stalls",
     IWP_STEP_WAIT,
     true,
     {STALLED, .resume_wait_ms = 20}},
    {"the end of the item has arrived",
     IWP_STEP_RESUME,
     true,
     {STALLED, .resume_wait_ms = 20, .end_known = true}},
    {"no audio has arrived in a stall", IWP_STEP_STALL, true, {STALLED, EMPTY}},

    /* Live: the delay and its target. */
    {"the delay is 12 ms above the target",
     IWP_STEP_SHRINK_PAUSE,
     true,
     {PLAYING, .error_ms = 12}},
    {"the delay is 12.1 ms above the target",
     IWP_STEP_SHRINK,
     true,
     {PLAYING, .error_ms = 12.1}},
    {"the budget is used up",
     IWP_STEP_SHRINK_PAUSE,
     true,
     {PLAYING, .error_ms = 50, .tokens_frames = 0}},
    {"the budget is overdrawn by 10 ms",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .tokens_frames = -MS10}},
    {"the delay is too large and 30 ms are queued",
     IWP_STEP_SHRINK,
     true,
     {PLAYING, .error_ms = 50, .level_frames = 3 * MS10}},
    {"the delay is too large and less than 30 ms are queued",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .level_frames = 3 * MS10 - 1}},
    {"removing a period was tried",
     IWP_STEP_SHRINK_PAUSE,
     true,
     {PLAYING, .error_ms = 50, .tried = IWP_TRIED_STRETCH}},
    {"removing a period and a pause was tried",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .tried = IWP_TRIED_STRETCH | IWP_TRIED_PAUSE}},
    {"the delay is 3 ms below the target", IWP_STEP_COPY, true, {PLAYING, .error_ms = -3}},
    {"the delay is 3.1 ms below the target", IWP_STEP_GROW, true, {PLAYING, .error_ms = -3.1}},
    {"the delay is too large at fixed speed",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 50, .stretch = false}},
    {"the delay is above the limit", IWP_STEP_SKIP, true, {PLAYING, .error_ms = 1500.1}},
    {"the delay is above the limit at fixed speed",
     IWP_STEP_SKIP,
     true,
     {PLAYING, .error_ms = 1500.1, .stretch = false}},
    {"the delay is above the limit, but the block needs all audio",
     IWP_STEP_COPY,
     true,
     {PLAYING, .error_ms = 1500.1, .level_frames = MS10}},

    /* Burst: start and end. */
    {"less than the threshold is queued",
     IWP_STEP_IDLE,
     false,
     {PREBUFFERING, .level_frames = 12 * MS10 - 1}},
    {"the threshold is queued",
     IWP_STEP_START,
     false,
     {PREBUFFERING, .level_frames = 12 * MS10}},
    {"one frame and the end are queued",
     IWP_STEP_START,
     false,
     {PREBUFFERING, .level_frames = 1, .end_known = true}},
    {"only the end is queued", IWP_STEP_IDLE, false, {PREBUFFERING, EMPTY, .end_known = true}},
    {"the end was played", IWP_STEP_END_ITEM, false, {PLAYING, EMPTY, .at_end = true}},
    {"the end of the item has arrived in a stall",
     IWP_STEP_END_ITEM,
     false,
     {STALLED, EMPTY, .at_end = true}},

    /*
     * Burst: running low and running out. "Without a pause" means that the audio has no pause
     * in which to stop. "Neither a pause nor a period" means that adding a period failed too.
     */
    {"250 ms are queued", IWP_STEP_COPY, false, {PLAYING, .level_frames = 25 * MS10}},
    {"less than 250 ms are queued",
     IWP_STEP_GROW,
     false,
     {PLAYING, .level_frames = 25 * MS10 - 1}},
    {"240 ms and the end are queued",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 24 * MS10, .end_known = true}},
    {"240 ms are queued, and the budget is used up",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 24 * MS10, .tokens_frames = 0}},
    {"60 ms are queued", IWP_STEP_GROW, false, {PLAYING, .level_frames = 6 * MS10}},
    {"less than 60 ms are queued",
     IWP_STEP_HOLD,
     false,
     {PLAYING, .level_frames = 6 * MS10 - 1}},
    {"50 ms are queued without a pause",
     IWP_STEP_GROW,
     false,
     {PLAYING, .level_frames = 5 * MS10, .tried = IWP_TRIED_HOLD}},
    {"50 ms are queued, with neither a pause nor a period",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 5 * MS10, .tried = IWP_TRIED_HOLD | IWP_TRIED_STRETCH}},
    {"50 ms are queued at fixed speed",
     IWP_STEP_COPY,
     false,
     {PLAYING, .level_frames = 5 * MS10, .stretch = false}},
    {"80 ms are queued in a stall",
     IWP_STEP_RESUME,
     false,
     {STALLED, .level_frames = 8 * MS10}},
    {"less than 80 ms are queued in a stall",
     IWP_STEP_WAIT,
     false,
     {STALLED, .level_frames = 8 * MS10 - 1}},
    {"one frame and the end are queued in a stall",
     IWP_STEP_RESUME,
     false,
     {STALLED, .level_frames = 1, .end_known = true}},
    {"the delay is large in burst mode", IWP_STEP_COPY, false, {PLAYING, .error_ms = 9000}},
};

int main(void)
{
    size_t count = sizeof cases / sizeof *cases;
    size_t failed = 0;

    for (size_t i = 0; i < count; i++) {
        const struct decision_case *test = &cases[i];
        enum iwp_step step =
            test->live ? iwp_decide_live(&test->now) : iwp_decide_burst(&test->now);

        if (step == test->expected)
            continue;
        failed++;
        printf("%s, %s: expected step %d, got %d\n", test->live ? "live" : "burst",
               test->sentence, test->expected, step);
    }
    printf("%zu cases, %zu failed\n", count, failed);
    return failed > 0;
}
