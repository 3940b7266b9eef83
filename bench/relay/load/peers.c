/* NATS, IRC and MQTT, as much as a room takes. None of them sends back what one said oneself. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- NATS: a room is a subject ------------------------------------------------------------------------ */

static void nats_greet(struct client *c) {
    putf(c, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"protocol\":1}\r\n");
    putf(c, "SUB r.%d 1\r\nPING\r\n", c->room);
}

static void nats_say(struct client *c, const char *body) {
    putf(c, "PUB r.%d %d\r\n", c->room, load.bytes);
    put(c, body, (size_t)load.bytes);
    put(c, "\r\n", 2);
}

static size_t nats_take(struct client *c, const char *from, size_t n, uint64_t now) {
    const char *at = from, *end = from + n, *line_end;
    while ((line_end = memchr(at, '\n', (size_t)(end - at)))) {
        const char *next = line_end + 1;
        if (at[0] == 'M') { /* MSG r.0 1 300 */
            const char *size = line_end;
            while (size[-1] != ' ') size--;
            if (atoi(size) != load.bytes) fail("a message of another size than was sent");
            if (end - next < load.bytes + 2) break;
            heard(c, next, now);
            next += load.bytes + 2;
        } else if (!memcmp(at, "PO", 2)) {
            ready(c);
        } else if (!memcmp(at, "PI", 2)) {
            put(c, "PONG\r\n", 6);
        } else if (at[0] == '-') {
            fail("nats-server: %.*s", (int)(line_end - at), at);
        }
        at = next;
    }
    return (size_t)(at - from);
}

/* --- IRC: a room is a channel ------------------------------------------------------------------------- */

static void irc_greet(struct client *c) { putf(c, "NICK n%d\r\nUSER u 0 * :x\r\n", c->id); }

static void irc_say(struct client *c, const char *body) {
    putf(c, "PRIVMSG #r%d :", c->room);
    put(c, body, (size_t)load.bytes);
    put(c, "\r\n", 2);
}

static void irc_command(struct client *c, const char *word, const char *end, uint64_t now) {
    size_t left = (size_t)(end - word);
    if (!memcmp(word, "PRIVMSG ", 8)) {
        const char *text = memchr(word, ':', left);
        if (!text || end - text - 1 < load.bytes) fail("the IRC server cut a line short");
        heard(c, text + 1, now);
    } else if (!memcmp(word, "001 ", 4)) {
        putf(c, "JOIN #r%d\r\n", c->room);
        c->state = JOINING;
    } else if (!memcmp(word, "366 ", 4)) {
        ready(c);
    } else if (*word == '4' && c->state == JOINING && memcmp(word, "422", 3)) {
        fail("the IRC server: %.*s", (int)left, word);
    }
}

static size_t irc_take(struct client *c, const char *from, size_t n, uint64_t now) {
    const char *at = from, *end = from + n, *line_end;
    while ((line_end = memchr(at, '\n', (size_t)(end - at)))) {
        if (at[0] == ':') {
            const char *word = memchr(at, ' ', (size_t)(line_end - at));
            if (word && line_end - word > 8) irc_command(c, word + 1, line_end, now);
        } else if (!memcmp(at, "PING", 4)) {
            putf(c, "PONG%.*s\n", (int)(line_end - at - 4), at + 4);
        } else if (!memcmp(at, "ERROR", 5)) {
            fail("the IRC server: %.*s", (int)(line_end - at), at);
        }
        at = line_end + 1;
    }
    return (size_t)(at - from);
}

/* --- MQTT 5: a room is a topic, delivered at most once ------------------------------------------------- */

enum { CONNACK = 2, PUBLISH = 3, SUBACK = 9 };

static void mqtt_greet(struct client *c) {
    char name[16];
    int n = snprintf(name, sizeof name, "c%d", c->id);
    /* CONNECT: protocol "MQTT" 5, clean start, no keep-alive, no properties */
    put(c, (char[]){0x10, (char)(13 + n), 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, (char)n}, 15);
    put(c, name, (size_t)n);
}

static void mqtt_subscribe(struct client *c) {
    char topic[16];
    int n = snprintf(topic, sizeof topic, "r%d", c->room);
    put(c, (char[]){(char)0x82, (char)(6 + n), 0, 1, 0, 0, (char)n}, 7);
    put(c, topic, (size_t)n);
    put(c, "\x04", 1); /* No Local */
}

static void mqtt_say(struct client *c, const char *body) {
    char topic[16];
    int n = snprintf(topic, sizeof topic, "r%d", c->room);
    unsigned length = (unsigned)(3 + n + load.bytes); /* 128 to 16383, so two bytes tell it */
    put(c, (char[]){0x30, (char)(length % 128 + 128), (char)(length / 128), 0, (char)n}, 5);
    put(c, topic, (size_t)n);
    put(c, "", 1);
    put(c, body, (size_t)load.bytes);
}

static size_t mqtt_take(struct client *c, const char *from, size_t n, uint64_t now) {
    const uint8_t *at = (const uint8_t *)from, *end = at + n;
    for (;;) {
        const uint8_t *rest = at + 1;
        size_t length = 0;
        for (int shift = 0;; shift += 7) {
            if (rest >= end) return (size_t)(at - (const uint8_t *)from);
            length |= (size_t)(*rest & 127) << shift;
            if (*rest++ < 128) break;
        }
        if ((size_t)(end - rest) < length) return (size_t)(at - (const uint8_t *)from);
        switch (*at >> 4) {
        case PUBLISH: heard(c, (const char *)rest + length - load.bytes, now); break;
        case CONNACK:
            if (rest[1]) fail("mosquitto refused client %d: code %d", c->id, rest[1]);
            mqtt_subscribe(c);
            break;
        case SUBACK: ready(c); break;
        default: break;
        }
        at = rest + length;
    }
}

const struct protocol nats = {"nats", nats_greet, nats_say, nats_take, true, NULL};
const struct protocol irc = {"irc", irc_greet, irc_say, irc_take, false, NULL};
const struct protocol mqtt = {"mqtt", mqtt_greet, mqtt_say, mqtt_take, false, NULL};
