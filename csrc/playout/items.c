/*
 * Items: their parts of the stream, their marks and events. Only the producer runs this code.
 */
#include "playout/iwp_playout.h"

#include <stdlib.h>
#include <string.h>

enum { MARKS_FIRST = 64 };

struct iwp_item *iwp_item_find(const struct iw_playout *playout, uint64_t id)
{
    const struct iwp_producer *producer = &playout->producer;

    /* Search backwards, because most calls are about the newest item. */
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

bool iwp_item_is_over(const struct iwp_item *item, int64_t position)
{
    return item->cleared ||
           (item->ended && item->order != IWP_NOT_BEGUN && position >= item->end);
}

static bool make_place(struct iw_playout *playout)
{
    struct iwp_producer *producer = &playout->producer;
    int64_t position = iwp_commit_position(iwp_load(&playout->shared.commit));
    struct iw_playout_event event;

    /*
     * Add the events first: a mark whose item is removed would block all later marks.
     */
    while (iwp_next_event(playout, position, &event))
        iwp_event_add(playout, event);
    for (size_t i = 0; i < producer->items_count; i++) {
        if (!iwp_item_is_over(&producer->items[i], position))
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

/*
 * Sort the marks of an item after the marks of earlier items. Marks of items that have not
 * begun are last.
 */
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

    /* A new item ends all earlier items, even if no push had the flag END_OF_ITEM. */
    for (size_t i = 0; i < producer->items_count; i++) {
        if (producer->items[i].order != IWP_NOT_BEGUN)
            producer->items[i].ended = true;
    }
    item->order = producer->items_order++;
    item->start = item->end = position;
    place_marks(producer, item);
}

/* ---- marks ------------------------------------------------------------------------------- */

/*
 * Allocate memory for one more mark, and for the events of a clear, because a clear never
 * allocates memory.
 */
static enum iw_status make_room(struct iwp_producer *producer)
{
    size_t marks = producer->marks_capacity;
    size_t events;
    void *grown;

    if (producer->marks_count == marks) {
        if (marks >= IW_PLAYOUT_MARKS)
            return IW_NO_ROOM;
        marks = marks == 0 ? MARKS_FIRST : 2 * marks;
        grown = realloc(producer->marks, marks * sizeof *producer->marks);
        if (grown == NULL)
            return IW_NO_MEMORY;
        producer->marks = grown;
        producer->marks_capacity = marks;
    }
    events = IWP_PENDING_EVENTS_LEAST + marks;
    if (events > producer->pending_events_capacity) {
        grown = realloc(producer->pending_events, events * sizeof *producer->pending_events);
        if (grown == NULL)
            return IW_NO_MEMORY;
        producer->pending_events = grown;
        producer->pending_events_capacity = events;
    }
    return IW_OK;
}

enum iw_status iw_playout_mark(struct iw_playout *playout, uint64_t item_id,
                               uint64_t offset_frames, uint64_t tag)
{
    struct iwp_producer *producer = &playout->producer;
    struct iwp_item *item = iwp_item_open(playout, item_id);
    struct iwp_mark mark;
    size_t at = producer->marks_count;
    enum iw_status status;

    if (item == NULL)
        return IW_NO_ROOM;
    if (item->cleared)
        return IW_STALE;
    status = make_room(producer);
    if (status != IW_OK)
        return status;
    mark = (struct iwp_mark){item_id, item->order, offset_frames, tag};
    while (at > 0 && (producer->marks[at - 1].order > mark.order ||
                      (producer->marks[at - 1].order == mark.order &&
                       producer->marks[at - 1].item == mark.item &&
                       producer->marks[at - 1].offset > mark.offset)))
        at--;
    memmove(producer->marks + at + 1, producer->marks + at,
            (producer->marks_count - at) * sizeof mark);
    producer->marks[at] = mark;
    producer->marks_count++;
    return IW_OK;
}

/* ---- events ------------------------------------------------------------------------------ */

/* Return the position of a mark in the stream, or the end of the item if the end is earlier. */
static int64_t position_of(const struct iwp_item *item, const struct iwp_mark *mark)
{
    uint64_t length = (uint64_t)(item->end - item->start);

    if (item->ended && mark->offset > length)
        return item->end;
    return item->start + (int64_t)mark->offset;
}

/* Remove and return the first mark if it belongs to the item and was reached. */
static bool take_mark(struct iwp_producer *producer, const struct iwp_item *item,
                      int64_t position, struct iw_playout_event *event)
{
    const struct iwp_mark *mark = producer->marks;

    if (producer->marks_count == 0 || mark->item != item->id ||
        position_of(item, mark) > position)
        return false;
    *event = (struct iw_playout_event){
        .type = IW_PLAYOUT_MARK,
        .item = mark->item,
        .tag = mark->tag,
        .position = (int64_t)mark->offset,
    };
    producer->marks_count--;
    memmove(producer->marks, producer->marks + 1, producer->marks_count * sizeof *mark);
    return true;
}

/* Return the first item from `order` on that has begun and is not cleared; NULL if none. */
static struct iwp_item *item_after(struct iwp_producer *producer, uint64_t order)
{
    struct iwp_item *next = NULL;

    for (size_t i = 0; i < producer->items_count; i++) {
        struct iwp_item *item = &producer->items[i];

        if (item->order == IWP_NOT_BEGUN || item->cleared || item->order < order)
            continue;
        if (next == NULL || item->order < next->order)
            next = item;
    }
    return next;
}

static bool item_event(struct iwp_producer *producer, struct iwp_item *item, int64_t position,
                       struct iw_playout_event *event)
{
    int64_t length = item->end - item->start;

    *event = (struct iw_playout_event){.item = item->id};
    if (!item->started_emitted && position > item->start && length > 0) {
        item->started_emitted = true;
        event->type = IW_PLAYOUT_ITEM_STARTED;
        return true;
    }
    if ((item->started_emitted || position >= item->end) &&
        take_mark(producer, item, position, event))
        return true;
    if (!item->done_emitted && item->ended && position >= item->end) {
        item->done_emitted = true;
        event->type = IW_PLAYOUT_ITEM_DONE;
        event->position = length;
        return true;
    }
    return false;
}

bool iwp_next_event(struct iw_playout *playout, int64_t position,
                    struct iw_playout_event *event)
{
    struct iwp_producer *producer = &playout->producer;
    struct iwp_item *item = item_after(producer, 0);

    while (item != NULL && item->start <= position) {
        if (!item->done_emitted && item_event(producer, item, position, event))
            return true;
        item = item_after(producer, item->order + 1);
    }
    return false;
}

void iwp_event_add(struct iw_playout *playout, struct iw_playout_event event)
{
    struct iwp_producer *producer = &playout->producer;

    if (producer->pending_events_count == producer->pending_events_capacity)
        iwp_add(&playout->shared.missed_events, 1);
    else
        producer->pending_events[producer->pending_events_count++] = event;
}

uint64_t iwp_cancel_marks(struct iw_playout *playout, const struct iwp_item *item)
{
    struct iwp_producer *producer = &playout->producer;
    size_t left = 0;
    uint64_t cancelled = 0;

    for (size_t i = 0; i < producer->marks_count; i++) {
        struct iwp_mark mark = producer->marks[i];

        if (mark.item != item->id) {
            producer->marks[left++] = mark;
            continue;
        }
        cancelled++;
        iwp_event_add(playout, (struct iw_playout_event){
                                   .type = IW_PLAYOUT_MARK_CANCELLED,
                                   .item = mark.item,
                                   .tag = mark.tag,
                                   .position = (int64_t)mark.offset,
                               });
    }
    producer->marks_count = left;
    return cancelled;
}

ptrdiff_t iw_playout_poll(struct iw_playout *playout, struct iw_playout_event *events,
                          size_t capacity, int64_t until)
{
    struct iwp_producer *producer = &playout->producer;
    struct iwp_shared *shared = &playout->shared;
    /*
     * Read `notices_written` before the position, so that no notice is newer than the position.
     */
    uint64_t written = iwp_load(&shared->notices_written);
    uint64_t read = iwp_load(&shared->notices_read);
    int64_t pulled = iwp_commit_position(iwp_load(&shared->commit));
    int64_t position = until < pulled ? until : pulled;
    size_t count =
        producer->pending_events_count < capacity ? producer->pending_events_count : capacity;

    memcpy(events, producer->pending_events, count * sizeof *events);
    producer->pending_events_count -= count;
    memmove(producer->pending_events, producer->pending_events + count,
            producer->pending_events_count * sizeof *events);
    while (count < capacity && producer->pending_events_count == 0) {
        const struct iwp_notice *notice = &shared->notices[read % IWP_RING];
        bool noticed = read != written && notice->position < position;

        if (iwp_next_event(playout, noticed ? notice->position : position, &events[count])) {
            count++;
        } else if (read != written) {
            events[count++] = (struct iw_playout_event){
                .type = notice->type,
                .position = notice->position,
                .time_ns = notice->time_ns,
            };
            iwp_store(&shared->notices_read, ++read);
        } else {
            break;
        }
    }
    return (ptrdiff_t)count;
}
