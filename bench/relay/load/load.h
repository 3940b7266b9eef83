/* What the parts of the load generator share: clients, their rooms, and who calls whom.
 *
 *   load.c      options, the connecting, one phase after the other
 *   traffic.c   who speaks when, and whether everything was heard in order
 *   network.c   sockets, TLS, epoll: bytes in, bytes out
 *   clave.c     this project's protocol, with the real login
 *   peers.c     NATS, IRC and MQTT
 *   measure.c   delays, processor time, memory
 *
 * One thread, one epoll. Every error ends the program with one line: a benchmark has nothing to recover.
 */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state { CONNECTING, SHAKING_HANDS, GREETING, JOINING, READY, GONE };

struct bytes {
    char *at;
    size_t used, room;
};

struct client {
    int fd, id, room;
    int place;           /* among the talkers of its room; those beyond its number only listen */
    enum state state;
    bool idle;           /* in a room where nobody speaks */
    bool stuck;          /* reads nothing any more */
    bool blocked;        /* waits for the socket to take more */
    bool has_output;
    bool in_clear;       /* NATS says a line before TLS begins; it was read */
    SSL *tls;
    struct bytes in, out;
    uint32_t said;       /* messages, by this client */
    uint32_t *heard;     /* messages, of each talker of the room */
    struct account *account; /* clave only */
    uint64_t seq;        /* clave only: the last entry */
    uint32_t spread, retry_after; /* clave only: ms, as the relay asks */
    uint64_t back_at;    /* ns: when it connects again, if it does */
    int tries;           /* that failed since it was last there */
};

struct room {
    int first, members, talkers, next;
    int listeners;       /* who hear one message */
    int64_t in_flight;   /* deliveries to come */
    bool queued;
};

struct protocol {
    const char *name;
    void (*greet)(struct client *);                                   /* the connection stands */
    void (*say)(struct client *, const char *body);                   /* to its room */
    size_t (*take)(struct client *, const char *at, size_t n, uint64_t now); /* returns the bytes used up */
    bool clear_line_first;
    const unsigned char *alpn; /* length, name */
};

struct load {
    const struct protocol *protocol;
    int port, rooms, members, talkers, idle, connecting, idle_members, bytes;
    bool tls, stuck, enrol, returning;
    const char *accounts, *certificate, *processes;
    int version;
    double warm, patience;
};

extern struct load load;
extern struct client *clients;
extern struct room *rooms;
extern int everyone;

/* load.c */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *zeroed(size_t count, size_t size);

/* traffic.c */
struct traffic {
    uint64_t messages, deliveries, accepted, wrong, held_back;
};
extern struct traffic traffic;
enum { BODY_STAMP = 18 }; /* what a body begins with: T, time, place, count */
void traffic_prepare(void);
void traffic_begin(int window, double rate); /* a closed loop, or an open one at messages per second */
int64_t traffic_next(uint64_t now);          /* says what is due; returns how long (ns) nothing will be */
void traffic_end(void);
int64_t traffic_in_flight(void);
void heard(struct client *, const char *body, uint64_t now);
void ready(struct client *);

/* network.c */
extern int ready_clients, gone_clients, connecting_clients;
void network_prepare(void);
void network_connect(struct client *);
void network_poll(int64_t nanoseconds);
void network_flush(void);
bool network_knows(int client_port); /* whether the server still holds that connection */
int network_port(const struct client *);
void network_ignore(struct client *); /* stop reading from it */
void network_leave(struct client *);  /* break its connection off; --returning, it comes back */
void put(struct client *, const void *bytes, size_t n);
void putf(struct client *, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *reserve(struct client *, size_t n);

/* clave.c, peers.c */
extern const struct protocol clave, nats, irc, mqtt;
void clave_prepare(void);

/* measure.c */
struct usage {
    double server, machine, generator; /* CPU seconds */
    long resident, peak;               /* KiB, of the server */
};
extern struct delays {
    uint64_t counts[64 * 64], count, longest;
} delays;
uint64_t now_ns(void);
struct usage usage(void);
void delays_clear(void);
double delay_ms(double share);
static inline void delay_add(uint64_t ns) {
    /* 64 linear steps for each power of two. */
    int power = ns < 64 ? 0 : 64 - __builtin_clzll(ns) - 6;
    delays.counts[power * 64 + (ns >> power)]++;
    delays.count++;
    if (ns > delays.longest) delays.longest = ns;
}

#endif
