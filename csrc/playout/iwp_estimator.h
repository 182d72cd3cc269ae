/*
 * The delay estimator of live mode: it simulates many policies and uses the cheapest policy.
 * Included by the playout's files.
 *
 * A policy is a pair (delay, hold). Its offset is at least `delay` above the transit of the
 * fastest packet of the last 20 s, and at least 20 ms above the transit of the slowest packet
 * of the last `hold`. Each arrival is simulated for every policy. A policy has costs for its
 * delay, for the time in which it would have stalled, and for each gap. Old costs decay with a
 * time constant of 30 s. The policy with the least cost is used.
 *
 * The costs of policies with less delay than the policy in use are limited: the cost of such a
 * policy exceeds the least cost by little more than the cost of a gap. So the delay falls again
 * within seconds after a disturbance. The cost of a gap is the only parameter.
 *
 * All times are milliseconds. Transit is arrival time minus source time. The two clocks differ,
 * so only changes of transit have a meaning. An offset is play time minus source time, so it
 * can be compared with transits.
 *
 * Only the producer may use an estimator. Nothing here allocates or reads a clock.
 */
#ifndef IWP_ESTIMATOR_H
#define IWP_ESTIMATOR_H

#include <stdbool.h>
#include <stddef.h>

enum {
    IWP_ESTIMATOR_DELAYS = 29,
    IWP_ESTIMATOR_HOLDS = 3,
    /* 20 s of minima in buckets of 500 ms, and the bucket that is being filled: at most 41. */
    IWP_ESTIMATOR_MINIMA = 44,
    /* 2.7 s of maxima in buckets of 100 ms: at most 28. */
    IWP_ESTIMATOR_MAXIMA = 32
};

struct iwp_bucket {
    double source_ms;  /* the start of the bucket */
    double transit_ms; /* the minimum or maximum in the bucket */
};

struct iwp_estimator {
    double
        gap_cost; /* in ms of delay * ms of audio; a delay of 17 ms for a minute costs 1e6 */
    double min_delay_ms;
    double max_delay_ms;
    double base_ms;   /* about the least transit of the last 20 s; delay 0 in `cost` */
    double source_ms; /* the newest source time so far */
    double cost[IWP_ESTIMATOR_HOLDS][IWP_ESTIMATOR_DELAYS];
    double offset_ms[IWP_ESTIMATOR_HOLDS][IWP_ESTIMATOR_DELAYS];
    struct iwp_bucket minima[IWP_ESTIMATOR_MINIMA]; /* oldest first */
    struct iwp_bucket maxima[IWP_ESTIMATOR_MAXIMA]; /* oldest first */
    size_t minima_count;
    size_t maxima_count;
    size_t hold; /* the policy in use */
    size_t delay;
    bool started; /* base_ms and the offsets are set */
};

/*
 * Initialize with the costs that 6 s of audio with one late packet (60 ms) would have. These
 * costs determine the delay at the start.
 */
void iwp_estimator_init(struct iwp_estimator *estimator, double gap_cost, double min_delay_ms,
                        double max_delay_ms);

/* Start a new time base: forget transits and offsets, and keep the costs of the policies. */
void iwp_estimator_restart(struct iwp_estimator *estimator);

/*
 * Add the arrival of a packet of `duration_ms` that starts at `source_ms` and arrived at
 * `source_ms` + `transit_ms`. `reordered` says whether a later packet arrived before this
 * packet.
 */
void iwp_estimator_arrival(struct iwp_estimator *estimator, double source_ms, double transit_ms,
                           double duration_ms, bool reordered);

/* Return the target offset. Call it only after the first arrival. */
double iwp_estimator_target_ms(const struct iwp_estimator *estimator);

#endif
