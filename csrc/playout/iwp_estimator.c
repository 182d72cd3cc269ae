/* The delay estimator of live mode: it simulates many policies and uses the cheapest policy. */
#include "playout/iwp_estimator.h"

#include <math.h>
#include <string.h>

#include "playout/iwp_rate.h"

#define STALL_COST 2000.0  /* the cost of 1 ms without audio */
#define REORDER_SHARE 0.3  /* a reordered packet costs this part of the gap cost */
#define FORGET_MS 30000.0  /* the time constant of the costs */
#define WINDOW_MS 20000.0  /* the window of the running minimum */
#define MINIMUM_MS 500.0   /* the width of a bucket of minima */
#define MAXIMUM_MS 100.0   /* the width of a bucket of maxima */
#define HEADROOM_MS 20.0   /* the least delay above the slowest packet of a hold */
#define STEP_MAX_MS 2000.0 /* a longer jump of source time is reduced to this */
#define LATE_MS 0.5        /* a smaller lateness is a rounding error */
#define SWITCH_SHARE 0.97  /* another policy is used if it is 3 % cheaper */
#define GROW_RATE 0.12     /* growth of a delay, at most this part of the elapsed time */
#define PRIOR_MS 6000.0
#define PRIOR_PEAK_MS 60.0
/*
 * The limit of the cost of a policy that has less delay than the cheapest policy. The limit is
 * the cost of the cheapest policy, plus EXCESS_GAPS gaps, plus EXCESS_COST.
 *
 * Without this limit, a disturbance with hundreds of gaps makes such a policy so expensive that
 * its cost must decay for a minute before the delay falls again. With the limit, the policy is
 * the cheapest again when its lower delay has saved the excess. If the policy saves 100 ms of
 * delay and a gap costs 1.1e6, the excess is saved after 14 s.
 */
#define EXCESS_GAPS 1.1
#define EXCESS_COST 2e5
/* The base ignores smaller changes, because each change of the base blurs the costs. */
#define BASE_FALL_MS 0.5
#define BASE_RISE_MS 5.0

static const double delays_ms[IWP_ESTIMATOR_DELAYS] = {
    0,   5,   10,  15,  20,  25,  30,  40,  50,  60,  70,  80,   100,  120, 140,
    160, 190, 220, 260, 300, 350, 400, 480, 560, 680, 800, 1000, 1250, 1500};

static const double holds_ms[IWP_ESTIMATOR_HOLDS] = {0, 800, 2500};

void iwp_estimator_init(struct iwp_estimator *estimator, double gap_cost, double min_delay_ms,
                        double max_delay_ms)
{
    memset(estimator, 0, sizeof *estimator);
    estimator->gap_cost = gap_cost;
    estimator->min_delay_ms = min_delay_ms;
    estimator->max_delay_ms = max_delay_ms;
    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++) {
        for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++) {
            double missing_ms = PRIOR_PEAK_MS - delays_ms[i];
            double cost = PRIOR_MS * delays_ms[i];

            if (missing_ms > 0)
                cost += STALL_COST * missing_ms + gap_cost;
            estimator->cost[hold][i] = cost;
            if (cost < estimator->cost[0][estimator->delay])
                estimator->delay = i;
        }
    }
}

void iwp_estimator_restart(struct iwp_estimator *estimator)
{
    estimator->started = false;
    estimator->minima_count = 0;
    estimator->maxima_count = 0;
}

/*
 * Put a minimum or maximum into the newest bucket or into a new bucket, and drop buckets that
 * are older than `since_ms`. Returns the count of buckets.
 */
static size_t remember(struct iwp_bucket *buckets, size_t count, size_t capacity,
                       double width_ms, double since_ms, struct iwp_bucket seen, bool largest)
{
    size_t stale = 0;

    if (count == 0 || seen.source_ms - buckets[count - 1].source_ms >= width_ms) {
        if (count == capacity)
            memmove(buckets, buckets + 1, --count * sizeof *buckets);
        buckets[count++] = seen;
    } else if (largest ? seen.transit_ms > buckets[count - 1].transit_ms
                       : seen.transit_ms < buckets[count - 1].transit_ms) {
        buckets[count - 1].transit_ms = seen.transit_ms;
    }
    while (stale + 1 < count && buckets[stale].source_ms < since_ms)
        stale++;
    if (stale > 0)
        memmove(buckets, buckets + stale, (count - stale) * sizeof *buckets);
    return count - stale;
}

/* Return the least offset of a hold: HEADROOM_MS above the slowest packet of this hold. */
static double floor_of(const struct iwp_estimator *estimator, size_t hold)
{
    double since_ms = estimator->source_ms - holds_ms[hold];
    double largest_ms = -HUGE_VAL;

    if (holds_ms[hold] <= 0)
        return -HUGE_VAL;
    for (size_t i = 0; i < estimator->maxima_count; i++) {
        if (estimator->maxima[i].source_ms >= since_ms &&
            estimator->maxima[i].transit_ms > largest_ms)
            largest_ms = estimator->maxima[i].transit_ms;
    }
    return largest_ms + HEADROOM_MS;
}

double iwp_estimator_target_ms(const struct iwp_estimator *estimator)
{
    double delay_ms = delays_ms[estimator->delay];
    double floor_ms = floor_of(estimator, estimator->hold);

    /*
     * The limits apply to the learned delay only. An offset below the floor makes packets late.
     */
    delay_ms = fmin(fmax(delay_ms, estimator->min_delay_ms), estimator->max_delay_ms);
    return fmax(estimator->base_ms + delay_ms, floor_ms);
}

/* After the base has moved, set cost[delay] to the old cost[delay + shift], interpolated. */
static void shift_costs(double cost[IWP_ESTIMATOR_DELAYS], double shift_ms)
{
    double old[IWP_ESTIMATOR_DELAYS];
    size_t right = 1;

    memcpy(old, cost, sizeof old);
    for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++) {
        double at_ms = delays_ms[i] + shift_ms;

        if (at_ms <= delays_ms[0]) {
            cost[i] = old[0];
            continue;
        }
        while (right < IWP_ESTIMATOR_DELAYS - 1 && delays_ms[right] < at_ms)
            right++;
        if (at_ms >= delays_ms[IWP_ESTIMATOR_DELAYS - 1]) {
            cost[i] = old[IWP_ESTIMATOR_DELAYS - 1];
            continue;
        }
        cost[i] = old[right - 1] + (old[right] - old[right - 1]) *
                                       (at_ms - delays_ms[right - 1]) /
                                       (delays_ms[right] - delays_ms[right - 1]);
    }
}

static void track_base(struct iwp_estimator *estimator, double source_ms, double transit_ms)
{
    struct iwp_bucket seen = {source_ms, transit_ms};
    double least_ms = HUGE_VAL;

    estimator->minima_count =
        remember(estimator->minima, estimator->minima_count, IWP_ESTIMATOR_MINIMA, MINIMUM_MS,
                 source_ms - WINDOW_MS, seen, false);
    for (size_t i = 0; i < estimator->minima_count; i++)
        least_ms = fmin(least_ms, estimator->minima[i].transit_ms);
    if (least_ms >= estimator->base_ms - BASE_FALL_MS &&
        least_ms <= estimator->base_ms + BASE_RISE_MS)
        return;
    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++)
        shift_costs(estimator->cost[hold], least_ms - estimator->base_ms);
    estimator->base_ms = least_ms;
}

static void start(struct iwp_estimator *estimator, double source_ms, double transit_ms)
{
    estimator->minima[0] = estimator->maxima[0] = (struct iwp_bucket){source_ms, transit_ms};
    estimator->minima_count = estimator->maxima_count = 1;
    estimator->base_ms = transit_ms;
    estimator->source_ms = source_ms;
    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++) {
        for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++)
            estimator->offset_ms[hold][i] = transit_ms + delays_ms[i];
    }
    estimator->started = true;
}

/*
 * Handle a packet that arrives after its successor. Each policy that has already played later
 * audio has concealed this packet.
 */
static void charge_reordered(struct iwp_estimator *estimator, double transit_ms,
                             double duration_ms)
{
    struct iwp_bucket *newest = &estimator->maxima[estimator->maxima_count - 1];

    /* An overtaken packet is slow, so the maximum of the newest bucket must include it. */
    newest->transit_ms = fmax(newest->transit_ms, transit_ms);
    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++) {
        for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++) {
            if (transit_ms > estimator->offset_ms[hold][i])
                estimator->cost[hold][i] +=
                    STALL_COST * duration_ms + REORDER_SHARE * estimator->gap_cost;
        }
    }
}

/* Simulate one policy: adjust its offset over `step_ms`, then add the costs of the packet. */
static void play_shadow(struct iwp_estimator *estimator, size_t hold, size_t delay,
                        double floor_ms, double step_ms, double transit_ms)
{
    double want_ms = fmax(estimator->base_ms + delays_ms[delay], floor_ms);
    double offset_ms = estimator->offset_ms[hold][delay];
    double excess_ms = offset_ms - want_ms;
    double late_ms;

    if (excess_ms > 0)
        offset_ms = fmax(want_ms, offset_ms - iwp_stretch_rate(excess_ms) * step_ms);
    else
        offset_ms = fmin(want_ms, offset_ms + GROW_RATE * step_ms);
    late_ms = fmax(0, transit_ms - offset_ms);
    estimator->cost[hold][delay] +=
        (offset_ms - estimator->base_ms) * step_ms + STALL_COST * late_ms;
    if (late_ms > LATE_MS)
        estimator->cost[hold][delay] += estimator->gap_cost;
    estimator->offset_ms[hold][delay] = offset_ms + late_ms;
}

static void charge_in_order(struct iwp_estimator *estimator, double source_ms,
                            double transit_ms)
{
    double step_ms = fmin(STEP_MAX_MS, fmax(0, source_ms - estimator->source_ms));
    double decay = exp(-step_ms / FORGET_MS);
    struct iwp_bucket seen = {source_ms, transit_ms};

    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++) {
        double floor_ms = floor_of(estimator, hold);

        for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++) {
            estimator->cost[hold][i] *= decay;
            play_shadow(estimator, hold, i, floor_ms, step_ms, transit_ms);
        }
    }
    estimator->source_ms = source_ms;
    estimator->maxima_count =
        remember(estimator->maxima, estimator->maxima_count, IWP_ESTIMATOR_MAXIMA, MAXIMUM_MS,
                 source_ms - holds_ms[IWP_ESTIMATOR_HOLDS - 1] - 2 * MAXIMUM_MS, seen, true);
}

/*
 * Limit the costs of the policies whose offset is at most `offset_ms`, which is the offset of
 * the cheapest policy. Policies with more delay have no limit: with a limit, a policy with
 * 800 ms of delay would be used after an outage.
 */
static void limit_costs(struct iwp_estimator *estimator, double least_cost, double offset_ms)
{
    double limit = least_cost + EXCESS_GAPS * estimator->gap_cost + EXCESS_COST;

    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++) {
        for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++) {
            if (estimator->offset_ms[hold][i] <= offset_ms)
                estimator->cost[hold][i] = fmin(estimator->cost[hold][i], limit);
        }
    }
}

static void choose(struct iwp_estimator *estimator)
{
    size_t best_hold = 0;
    size_t best_delay = 0;

    for (size_t hold = 0; hold < IWP_ESTIMATOR_HOLDS; hold++) {
        for (size_t i = 0; i < IWP_ESTIMATOR_DELAYS; i++) {
            if (estimator->cost[hold][i] < estimator->cost[best_hold][best_delay]) {
                best_hold = hold;
                best_delay = i;
            }
        }
    }
    limit_costs(estimator, estimator->cost[best_hold][best_delay],
                estimator->offset_ms[best_hold][best_delay]);
    if (estimator->cost[best_hold][best_delay] <
        estimator->cost[estimator->hold][estimator->delay] * SWITCH_SHARE) {
        estimator->hold = best_hold;
        estimator->delay = best_delay;
    }
}

void iwp_estimator_arrival(struct iwp_estimator *estimator, double source_ms, double transit_ms,
                           double duration_ms, bool reordered)
{
    if (!estimator->started) {
        start(estimator, source_ms, transit_ms);
        return;
    }
    track_base(estimator, source_ms, transit_ms);
    if (reordered)
        charge_reordered(estimator, transit_ms, duration_ms);
    else
        charge_in_order(estimator, source_ms, transit_ms);
    choose(estimator);
}
