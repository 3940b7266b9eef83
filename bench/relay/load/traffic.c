/* Who speaks when, and whether everyone heard everything once and in order. Knows no protocol.
 *
 * In the closed loop a room has at most `window` messages per talker in flight, each until its last listener
 * has it. In the open loop messages are due at fixed instants and delays count from there, whether or not the
 * message could be sent then, so a server that stalls cannot hide it.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_UNSENT = 1 << 20 };

struct traffic traffic;
static bool speaking, open_loop;
static int window, turn;
static double gap_ns, due_ns;
static int *waiting, *waiting_before, waiting_count; /* rooms that may have credit */
static char *body;

void traffic_prepare(void) {
    waiting = zeroed((size_t)load.rooms, sizeof *waiting);
    waiting_before = zeroed((size_t)load.rooms, sizeof *waiting);
    body = malloc((size_t)load.bytes);
    if (!body) fail("out of memory");
    memset(body, 'x', (size_t)load.bytes);
    body[0] = 'T';
}

static void wait_for_credit(int room) {
    if (rooms[room].queued) return;
    rooms[room].queued = true;
    waiting[waiting_count++] = room;
}

void traffic_begin(int new_window, double rate) {
    open_loop = rate > 0;
    window = new_window;
    gap_ns = open_loop ? 1e9 / rate : 0;
    due_ns = (double)now_ns();
    speaking = true;
    for (int i = 0; i < load.rooms; i++) wait_for_credit(i);
}

void traffic_end(void) { speaking = false; }

int64_t traffic_in_flight(void) {
    int64_t sum = 0;
    for (int i = 0; i < load.rooms; i++) sum += rooms[i].in_flight;
    return sum;
}

/* Numbers stand in printable characters of six bits each, lowest first: every protocol takes those. */
static void write_number(char *at, int digits, uint64_t value) {
    for (int i = 0; i < digits; i++, value >>= 6) at[i] = (char)('0' + (value & 63));
}

static uint64_t read_number(const char *at, int digits) {
    uint64_t value = 0;
    for (int i = digits; i-- > 0;) value = value << 6 | (uint64_t)((unsigned char)at[i] - '0');
    return value;
}

static void speak(struct room *room, uint64_t when) {
    struct client *talker = &clients[room->first + room->next];
    room->next = (room->next + 1) % room->talkers;
    if (talker->state != READY) return;
    if (talker->out.used > MAX_UNSENT) { /* the server does not read */
        traffic.held_back++;
        return;
    }
    write_number(body + 1, 10, when & ((1ull << 60) - 1));
    write_number(body + 11, 2, (uint64_t)talker->place);
    write_number(body + 13, 5, ++talker->said & ((1u << 30) - 1));
    load.protocol->say(talker, body);
    traffic.messages++;
    room->in_flight += room->listeners;
}

void heard(struct client *client, const char *text, uint64_t now) {
    struct room *room = &rooms[client->room];
    uint64_t when = read_number(text + 1, 10), place = read_number(text + 11, 2),
             count = read_number(text + 13, 5);
    traffic.deliveries++;
    if (client->idle || text[0] != 'T' || place >= (uint64_t)room->talkers) {
        traffic.wrong++;
        return;
    }
    if (++client->heard[place] != count) {
        traffic.wrong++;
        client->heard[place] = (uint32_t)count;
    }
    delay_add(now > when ? now - when : 0);
    room->in_flight--;
    if (!open_loop) wait_for_credit(client->room);
}

static int64_t speak_on_schedule(uint64_t now) {
    for (; due_ns <= (double)now; due_ns += gap_ns) {
        speak(&rooms[turn], (uint64_t)due_ns);
        turn = (turn + 1) % load.rooms;
    }
    return (int64_t)(due_ns - (double)now);
}

static int64_t speak_with_credit(uint64_t now) {
    int count = waiting_count;
    memcpy(waiting_before, waiting, sizeof *waiting * (size_t)count);
    waiting_count = 0;
    for (int i = 0; i < count; i++) {
        struct room *room = &rooms[waiting_before[i]];
        room->queued = false;
        int64_t under_way = (room->in_flight + room->listeners - 1) / room->listeners;
        int64_t credit = (int64_t)window * room->talkers - under_way;
        while (credit-- > 0) speak(room, now);
    }
    return INT64_MAX;
}

int64_t traffic_next(uint64_t now) {
    if (!speaking) return INT64_MAX;
    int64_t pause = open_loop ? speak_on_schedule(now) : speak_with_credit(now);
    network_flush();
    return pause;
}
