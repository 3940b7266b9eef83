/* This project's protocol as docs/protocol.md has it: the real login, then entries of one room.
 *
 * The accounts stand in a file, a line each: seed of the device key, identity, room (hex), then the cursor and
 * the last entry that is no message. Of what the relay sends, only what is needed is understood.
 */
#include "load.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELLO = 1, GREETED, LOGIN, LOGGED_IN, REFUSED = 11, CLOSING };
enum { RESUME = 31, RESUMED, SUBMIT, ACCEPTED, REJECTED, ENTRY };
enum { KIND_APPLICATION = 1, MAX_IDENTITY = 1024 };

struct account {
    EVP_PKEY *key;
    uint8_t device[32], room[16], identity[MAX_IDENTITY];
    size_t identity_bytes;
    uint64_t cursor, read, submission;
};

static uint8_t certificate[32];

/* --- the accounts ------------------------------------------------------------------------------------- */

static size_t unhex(uint8_t *to, size_t room, const char *text) {
    size_t n = 0;
    for (; text[0] && text[1] && n < room; text += 2, n++) {
        unsigned byte;
        if (sscanf(text, "%2x", &byte) != 1) fail("not hex: %.20s", text);
        to[n] = (uint8_t)byte;
    }
    if (*text) fail("too many hex digits: %.20s", text);
    return n;
}

static struct account *read_account(FILE *file) {
    char seed_hex[65], identity_hex[2 * MAX_IDENTITY + 1], room_hex[33];
    struct account *one = zeroed(1, sizeof *one);
    uint8_t seed[32];
    size_t n = sizeof one->device;
    if (fscanf(file, "%64s %2048s %32s %lu %lu", seed_hex, identity_hex, room_hex, &one->cursor,
               &one->read) != 5)
        fail("%s holds fewer than %d accounts", load.accounts, everyone);
    if (unhex(seed, sizeof seed, seed_hex) != 32 || unhex(one->room, 16, room_hex) != 16)
        fail("%s: a seed has 32 bytes, a room 16", load.accounts);
    one->identity_bytes = unhex(one->identity, sizeof one->identity, identity_hex);
    one->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    if (!one->key || EVP_PKEY_get_raw_public_key(one->key, one->device, &n) != 1)
        fail("OpenSSL has no Ed25519");
    return one;
}

void clave_prepare(void) {
    if (!load.accounts || !load.certificate || unhex(certificate, 32, load.certificate) != 32)
        fail("clave needs --accounts FILE, --certificate SHA256 and --version N");
    FILE *file = fopen(load.accounts, "r");
    if (!file) fail("cannot read %s", load.accounts);
    for (int i = 0; i < everyone; i++) {
        clients[i].account = read_account(file);
        clients[i].seq = clients[i].account->cursor;
    }
    fclose(file);
}

/* --- msgpack ------------------------------------------------------------------------------------------ */

static uint8_t *put_u16(uint8_t *at, size_t value) {
    *at++ = (uint8_t)(value >> 8);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_u32(uint8_t *at, uint32_t value) {
    return put_u16(put_u16(at, value >> 16), value & 0xffff);
}

static uint8_t *put_copy(uint8_t *at, const void *from, size_t n) {
    memcpy(at, from, n);
    return at + n;
}

static uint8_t *put_number(uint8_t *at, uint64_t value) {
    *at++ = 0xcf;
    return put_u32(put_u32(at, (uint32_t)(value >> 32)), (uint32_t)value);
}

static uint8_t *put_bin(uint8_t *at, const void *from, size_t n) { /* up to 65535 bytes */
    if (n < 256) {
        *at++ = 0xc4;
        *at++ = (uint8_t)n;
    } else {
        *at++ = 0xc5;
        at = put_u16(at, n);
    }
    return put_copy(at, from, n);
}

static uint64_t take_number(const uint8_t **at) {
    uint8_t first = *(*at)++;
    if (first < 0x80) return first;
    if (first < 0xcc || first > 0xcf) fail("the relay sent 0x%02x where an integer stands", first);
    uint64_t value = 0;
    for (int i = 1 << (first - 0xcc); i-- > 0;) value = value << 8 | *(*at)++;
    return value;
}

static void send_frame(struct client *c, const uint8_t *frame, const uint8_t *end) {
    uint32_t length = htonl((uint32_t)(end - frame));
    put(c, &length, 4);
    put(c, frame, (size_t)(end - frame));
}

/* --- logging in --------------------------------------------------------------------------------------- */

static void greet(struct client *c) {
    uint8_t frame[] = {0x93, HELLO, 0x91, (uint8_t)load.version, 0xa4, 'l', 'o', 'a', 'd'};
    send_frame(c, frame, frame + sizeof frame);
}

static void log_in(struct client *c, const uint8_t *greeting) {
    struct account *own = c->account;
    uint8_t text[MAX_IDENTITY + 128], signature[64], frame[MAX_IDENTITY + 256], *at = text;
    size_t n = sizeof signature;
    if (greeting[2] != load.version || greeting[3] != 0xc4 || greeting[4] != 32)
        fail("not the greeting expected");
    at = put_copy(at, "clave login", 12);
    *at++ = 1;
    at = put_u16(put_u16(at, (size_t)load.version), (size_t)load.version);
    at = put_copy(put_copy(at, greeting + 5, 32), certificate, 32);
    at = put_copy(put_u16(at, own->identity_bytes), own->identity, own->identity_bytes);
    EVP_MD_CTX *signing = EVP_MD_CTX_new();
    if (EVP_DigestSignInit(signing, NULL, NULL, NULL, own->key) != 1 ||
        EVP_DigestSign(signing, signature, &n, text, (size_t)(at - text)) != 1)
        fail("OpenSSL did not sign");
    EVP_MD_CTX_free(signing);
    at = put_copy(frame, (uint8_t[]){0x95, LOGIN}, 2);
    at = put_bin(put_bin(at, own->device, 32), own->identity, own->identity_bytes);
    at = put_bin(at, signature, sizeof signature);
    *at++ = 0xa0; /* no token */
    send_frame(c, frame, at);
}

static void resume(struct client *c) {
    uint8_t frame[64], *at = put_copy(frame, (uint8_t[]){0x94, RESUME, 1}, 3);
    at = put_number(put_bin(at, c->account->room, 16), c->seq);
    send_frame(c, frame, at);
    c->state = JOINING;
}

/* --- talking ------------------------------------------------------------------------------------------ */

static void say(struct client *c, const char *body) {
    struct account *own = c->account;
    uint8_t head[64], *at = head + 4;
    at = put_copy(at, (uint8_t[]){0x96, SUBMIT}, 2);
    at = put_number(put_bin(at, own->room, 16), ++own->submission);
    at = put_number(at, own->read);
    *at++ = KIND_APPLICATION;
    *at++ = 0xc5;
    at = put_u16(at, (size_t)load.bytes);
    put_u32(head, (uint32_t)(at - head - 4 + load.bytes));
    put(c, head, (size_t)(at - head));
    put(c, body, (size_t)load.bytes);
}

static void next_in_order(struct client *c, uint64_t seq) {
    if (++c->seq == seq) return;
    traffic.wrong++;
    c->seq = seq;
}

static void take_entry(struct client *c, const uint8_t *at, uint64_t now) {
    at += 20; /* array, number, room */
    next_in_order(c, take_number(&at));
    at += 34; /* sender */
    take_number(&at);
    take_number(&at);
    take_number(&at);
    if (*at != 0xc5 || (at[1] << 8 | at[2]) != load.bytes) fail("an entry of another size than was sent");
    heard(c, (const char *)at + 3, now);
}

static void take_accepted(struct client *c, const uint8_t *at) {
    at += 20;
    take_number(&at);
    next_in_order(c, take_number(&at));
    traffic.accepted++;
}

static const uint8_t *skip_text(const uint8_t *at) {
    if ((*at & 0xe0) == 0xa0) return at + 1 + (*at & 0x1f);
    if (*at == 0xd9) return at + 2 + at[1];
    if (*at == 0xda) return at + 3 + (at[1] << 8 | at[2]);
    fail("the relay sent 0x%02x where a text stands", *at);
}

static void take_logged_in(struct client *c, const uint8_t *at) {
    at = skip_text(at + 2) + 1; /* name, whether it is new */
    if (*at++ != 0x90) fail("the load generator has no key packages");
    c->spread = (uint32_t)take_number(&at);
}

static void take_resumed(struct client *c, const uint8_t *at) {
    at += 2;
    take_number(&at); /* request */
    at += 18;         /* room */
    take_number(&at); /* seq */
    take_number(&at); /* handshake */
    c->account->submission = take_number(&at);
    ready(c);
}

static void take_closing(struct client *c, const uint8_t *at) {
    at = skip_text(skip_text(at + 2));
    c->retry_after = (uint32_t)take_number(&at);
}

static void take_frame(struct client *c, const uint8_t *at, size_t n, uint64_t now) {
    switch (at[1]) {
    case GREETED: log_in(c, at); break;
    case LOGGED_IN:
        take_logged_in(c, at);
        if (load.enrol)
            ready(c);
        else
            resume(c);
        break;
    case RESUMED: take_resumed(c, at); break;
    case ENTRY: take_entry(c, at, now); break;
    case ACCEPTED: take_accepted(c, at); break;
    case CLOSING:
        if (load.returning) {
            take_closing(c, at);
            break;
        }
        __attribute__((fallthrough));
    case REFUSED:
    case REJECTED: fail("the relay refused client %d: %.*s", c->id, (int)n - 2, (const char *)at + 2);
    default: break; /* presence and what else is told to people */
    }
}

static size_t take(struct client *c, const char *from, size_t n, uint64_t now) {
    const uint8_t *at = (const uint8_t *)from, *end = at + n;
    while (end - at >= 4) {
        size_t length = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if ((size_t)(end - at) < 4 + length) break;
        take_frame(c, at + 4, length, now);
        at += 4 + length;
    }
    return n - (size_t)(end - at);
}

const struct protocol clave = {"clave", greet, say, take, false, (const unsigned char *)"\7clave/1"};
