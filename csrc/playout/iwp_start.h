/*
 * The start threshold of burst mode: shadow utterances. Included by the playout's
 * files.
 *
 * A policy is a threshold: start when so much is queued, or when the item is complete. Every
 * policy plays every item in the mind and pays for its start delay, its stalls and its gaps;
 * each item weighs 0.95 of the next. The cheapest threshold serves the next item.
 *
 * All times are milliseconds. Thread safety: none; the producer owns it.
 */
#ifndef IWP_START_H
#define IWP_START_H

#include <stdbool.h>
#include <stddef.h>

enum { IWP_START_POLICIES = 8 };

struct iwp_start {
    double gap_cost;   /* of one stall, in ms of start delay */
    double resume_ms;  /* what is collected after a stall */
    double first_ms;   /* arrival of the item's first chunk */
    double arrived_ms; /* audio of the item so far */
    double cost[IWP_START_POLICIES];
    double begun_ms[IWP_START_POLICIES]; /* since first_ms; negative while it waits */
    double stalled_ms[IWP_START_POLICIES];
    double stalls[IWP_START_POLICIES];
    size_t policy;
    bool running; /* an item is under way */
};

/* As if 4 items at 1.5 times real time, with one deficit of 100 ms, had been seen. */
void iwp_start_init(struct iwp_start *start, double gap_cost, double resume_ms);

/* `duration_ms` of the item arrived; `last` closes the item. */
void iwp_start_chunk(struct iwp_start *start, double arrival_ms, double duration_ms, bool last);

/* The item will not be completed: forget it. */
void iwp_start_abandon(struct iwp_start *start);

/* How much must be queued before an item whose end is not known is started. */
double iwp_start_threshold_ms(const struct iwp_start *start);

#endif
