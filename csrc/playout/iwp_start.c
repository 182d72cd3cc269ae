/* Learns the start threshold of burst mode by simulating each item with several thresholds. */
#include "playout/iwp_start.h"

#include <math.h>
#include <string.h>

#define STALL_COST 2.0 /* the cost of 1 ms of a stall, in ms of start delay */
#define FORGET 0.95    /* older costs are multiplied by this for each new item */
#define LATE_MS 2.0    /* a smaller lateness is a rounding error */
#define PRIOR_ITEMS 4.0
#define PRIOR_SPEED 1.5 /* of the source, assumed before the first item; real time is 1.0 */
#define PRIOR_DEFICIT_MS 100.0

static const double thresholds_ms[IWP_START_POLICIES] = {60, 90, 120, 160, 200, 260, 340, 450};

static void choose(struct iwp_start *start)
{
    start->policy = 0;
    for (size_t i = 1; i < IWP_START_POLICIES; i++) {
        if (start->cost[i] < start->cost[start->policy])
            start->policy = i;
    }
}

void iwp_start_init(struct iwp_start *start, double gap_cost, double resume_ms)
{
    memset(start, 0, sizeof *start);
    start->gap_cost = gap_cost;
    start->resume_ms = resume_ms;
    for (size_t i = 0; i < IWP_START_POLICIES; i++) {
        double missing_ms = PRIOR_DEFICIT_MS - thresholds_ms[i];
        double cost = thresholds_ms[i] / PRIOR_SPEED;

        if (missing_ms > 0)
            cost += 0.5 * gap_cost + STALL_COST * missing_ms;
        start->cost[i] = PRIOR_ITEMS * cost;
    }
    choose(start);
}

void iwp_start_abandon(struct iwp_start *start)
{
    start->running = false;
}

double iwp_start_threshold_ms(const struct iwp_start *start)
{
    return thresholds_ms[start->policy];
}

static void begin(struct iwp_start *start, double arrival_ms)
{
    start->running = true;
    start->first_ms = arrival_ms;
    start->arrived_ms = 0;
    for (size_t i = 0; i < IWP_START_POLICIES; i++) {
        start->begun_ms[i] = -1;
        start->stalled_ms[i] = start->stalls[i] = 0;
    }
}

/*
 * Add a stall to policy `i` if the policy is playing and its audio has run out before this
 * chunk.
 */
static void meet(struct iwp_start *start, size_t i, double now_ms, double duration_ms)
{
    double due_ms = start->begun_ms[i] + start->stalled_ms[i] + start->arrived_ms;
    double late_ms = now_ms - due_ms;

    if (start->begun_ms[i] < 0 || late_ms <= LATE_MS)
        return;
    /*
     * After a chunk shorter than resume_ms, the playout waits for more audio. The simulation
     * assumes that this wait takes half as long as the missing audio.
     */
    late_ms += 0.5 * fmax(0, start->resume_ms - duration_ms);
    start->stalled_ms[i] += late_ms;
    start->stalls[i]++;
}

static void settle(struct iwp_start *start)
{
    for (size_t i = 0; i < IWP_START_POLICIES; i++) {
        start->cost[i] = start->cost[i] * FORGET + start->begun_ms[i] +
                         STALL_COST * start->stalled_ms[i] + start->gap_cost * start->stalls[i];
    }
    choose(start);
    start->running = false;
}

void iwp_start_chunk(struct iwp_start *start, double arrival_ms, double duration_ms, bool last)
{
    double now_ms;

    if (!start->running) {
        if (duration_ms <= 0)
            return; /* the end of an item that had no audio */
        begin(start, arrival_ms);
    }
    now_ms = arrival_ms - start->first_ms;
    /* A chunk that only ends the item has no audio, so it cannot be late. */
    for (size_t i = 0; duration_ms > 0 && i < IWP_START_POLICIES; i++)
        meet(start, i, now_ms, duration_ms);
    start->arrived_ms += duration_ms;
    for (size_t i = 0; i < IWP_START_POLICIES; i++) {
        if (start->begun_ms[i] < 0 && (last || start->arrived_ms >= thresholds_ms[i]))
            start->begun_ms[i] = now_ms;
    }
    if (last)
        settle(start);
}
