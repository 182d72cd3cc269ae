/*
 * The start threshold of burst mode. Included by the playout's files.
 *
 * A policy is a threshold: an item starts when this much audio is queued, or when the item is
 * complete. Every item is simulated with every policy. A policy has costs for its start delay
 * and its stalls. With each new item, the older costs are multiplied by 0.95. The policy with
 * the least cost is used for the next item.
 *
 * All times are milliseconds. Only the producer may use this struct.
 */
#ifndef IWP_START_H
#define IWP_START_H

#include <stdbool.h>
#include <stddef.h>

enum { IWP_START_POLICIES = 8 };

struct iwp_start {
    double gap_cost;   /* the cost of a stall, in ms of start delay */
    double resume_ms;  /* how much to queue after a stall */
    double first_ms;   /* when the first chunk of the item arrived */
    double arrived_ms; /* how much audio of the item has arrived */
    double cost[IWP_START_POLICIES];
    double begun_ms[IWP_START_POLICIES]; /* from first_ms to the start; -1 before the start */
    double stalled_ms[IWP_START_POLICIES];
    double stalls[IWP_START_POLICIES];
    size_t policy;
    bool running; /* an item has started and has not ended */
};

/*
 * Initialize with the costs of 4 items that arrive at 1.5 times real time. For each policy with
 * a threshold below 100 ms, these costs include a stall for the difference from 100 ms.
 */
void iwp_start_init(struct iwp_start *start, double gap_cost, double resume_ms);

/* Add `duration_ms` of audio that arrived for the item. `last` ends the item. */
void iwp_start_chunk(struct iwp_start *start, double arrival_ms, double duration_ms, bool last);

/* Forget the current item, which will not be completed. */
void iwp_start_abandon(struct iwp_start *start);

/* Return how much must be queued before an incomplete item starts. */
double iwp_start_threshold_ms(const struct iwp_start *start);

#endif
