/*
 * The delay estimator of live mode: it plays shadow playouts and follows the cheapest.
 * Included by the playout's files.
 *
 * A policy is a pair (delay, hold): play at least `delay` after the quickest packet of the last
 * 20 s, and at least 20 ms after the slowest packet of the last `hold`. Every policy is played
 * in the mind on every arrival and pays for the delay it keeps, for the time it would have
 * stalled and for each gap; old costs are forgotten with 30 s. The cheapest policy is the one
 * that is used. The price of a gap is the only knob.
 *
 * All times are milliseconds. Transit is arrival minus source time: its zero means nothing,
 * only its changes do. An offset is play time minus source time, on the scale of transit.
 *
 * Thread safety: none; the producer owns it. Nothing here allocates or reads a clock.
 */
#ifndef IWP_ESTIMATOR_H
#define IWP_ESTIMATOR_H

#include <stdbool.h>
#include <stddef.h>

enum {
    IWP_ESTIMATOR_DELAYS = 29,
    IWP_ESTIMATOR_HOLDS = 3,
    /* 20 s of minima in 500 ms buckets, and one of them being filled: 41 are live at most. */
    IWP_ESTIMATOR_MINIMA = 44,
    /* 2.7 s of maxima in 100 ms buckets: 28 are live at most. */
    IWP_ESTIMATOR_MAXIMA = 32
};

struct iwp_bucket {
    double source_ms;  /* where it begins */
    double transit_ms; /* the extreme of it */
};

struct iwp_estimator {
    double
        gap_cost; /* of one gap, in ms of delay times ms of audio: 1e6 = 17 ms for a minute */
    double min_delay_ms;
    double max_delay_ms;
    double base_ms;   /* the least transit of the last 20 s, as the costs are indexed */
    double source_ms; /* the newest source time that was seen */
    double cost[IWP_ESTIMATOR_HOLDS][IWP_ESTIMATOR_DELAYS];
    double offset_ms[IWP_ESTIMATOR_HOLDS][IWP_ESTIMATOR_DELAYS];
    struct iwp_bucket minima[IWP_ESTIMATOR_MINIMA]; /* oldest first */
    struct iwp_bucket maxima[IWP_ESTIMATOR_MAXIMA]; /* oldest first */
    size_t minima_count;
    size_t maxima_count;
    size_t hold; /* the policy in use */
    size_t delay;
    bool started; /* base and offsets are set */
};

/* As if 6 s with one 60 ms peak had been seen, so that the first seconds are played sanely. */
void iwp_estimator_init(struct iwp_estimator *estimator, double gap_cost, double min_delay_ms,
                        double max_delay_ms);

/* The time base changed: forget transits and offsets, keep what the policies cost. */
void iwp_estimator_restart(struct iwp_estimator *estimator);

/*
 * A packet of `duration_ms` that starts at `source_ms` arrived, `transit_ms` after that.
 * `reordered` tells that a later packet came first.
 */
void iwp_estimator_arrival(struct iwp_estimator *estimator, double source_ms, double transit_ms,
                           double duration_ms, bool reordered);

/* The offset that is wanted now. Only after the first arrival. */
double iwp_estimator_target_ms(const struct iwp_estimator *estimator);

#endif
