/* Which part of the stream belongs to which item. The producer's. */
#include "playout/iwp_playout.h"

#include <string.h>

struct iwp_item *iwp_item_find(const struct iw_playout *playout, uint64_t id)
{
    const struct iwp_producer *producer = &playout->producer;

    /* The newest are asked for. */
    for (size_t i = producer->items_count; i > 0; i--) {
        if (producer->items[i - 1].id == id)
            return (struct iwp_item *)&producer->items[i - 1];
    }
    return NULL;
}

int64_t iwp_item_heard(const struct iwp_item *item, int64_t position)
{
    int64_t heard = position - item->start;

    if (item->cleared)
        return item->heard;
    if (item->order == IWP_NOT_BEGUN || heard < 0)
        return 0;
    return heard < item->end - item->start ? heard : item->end - item->start;
}

/* Nothing can happen to it any more. */
static bool is_over(const struct iwp_item *item, int64_t position)
{
    return item->cleared ||
           (item->ended && item->order != IWP_NOT_BEGUN && position >= item->end);
}

static bool make_place(struct iw_playout *playout)
{
    struct iwp_producer *producer = &playout->producer;
    int64_t position = iwp_commit_position(iwp_load(&playout->shared.commit));
    struct iw_playout_event event;

    /* What is forgotten must have been told, its marks above all: they stand before others. */
    while (iwp_next_event(playout, position, &event))
        iwp_tell(playout, event);
    for (size_t i = 0; i < producer->items_count; i++) {
        if (!is_over(&producer->items[i], position))
            continue;
        producer->items_count--;
        memmove(&producer->items[i], &producer->items[i + 1],
                (producer->items_count - i) * sizeof *producer->items);
        return true;
    }
    return false;
}

struct iwp_item *iwp_item_open(struct iw_playout *playout, uint64_t id)
{
    struct iwp_producer *producer = &playout->producer;
    struct iwp_item *item = iwp_item_find(playout, id);

    if (item != NULL)
        return item;
    if (producer->items_count == IW_PLAYOUT_ITEMS && !make_place(playout))
        return NULL;
    item = &producer->items[producer->items_count++];
    *item = (struct iwp_item){.id = id, .order = IWP_NOT_BEGUN};
    return item;
}

/* Marks are kept by the order of their items; those of an item without sound come last. */
static void place_marks(struct iwp_producer *producer, const struct iwp_item *item)
{
    for (size_t i = 0; i < producer->marks_count; i++) {
        struct iwp_mark mark = producer->marks[i];
        size_t at = i;

        if (mark.item != item->id)
            continue;
        mark.order = item->order;
        while (at > 0 && producer->marks[at - 1].order > mark.order) {
            producer->marks[at] = producer->marks[at - 1];
            at--;
        }
        producer->marks[at] = mark;
    }
}

void iwp_item_begin(struct iw_playout *playout, struct iwp_item *item, int64_t position)
{
    struct iwp_producer *producer = &playout->producer;

    /* What comes before is over, also if nobody said so. */
    for (size_t i = 0; i < producer->items_count; i++) {
        if (producer->items[i].order != IWP_NOT_BEGUN)
            producer->items[i].ended = true;
    }
    item->order = producer->items_order++;
    item->start = item->end = position;
    place_marks(producer, item);
}
