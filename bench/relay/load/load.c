/* load: drives one server on loopback with many clients in rooms and says what came out the other side.
 *
 *   load --protocol clave|nats|irc|mqtt --port N --processes PID,PID [--tls]
 *        --rooms R --members M [--talkers T] [--idle N] [--stuck] [--bytes 300] PHASE...
 *
 * Connects everyone, waits until all have joined, then runs one phase after the other:
 *
 *   closed:WINDOW:SECONDS    as fast as WINDOW messages in flight per talker allow
 *   fill:WINDOW:MESSAGES     the same, until so many were said
 *   half:SECONDS             half of the best that a closed phase reached
 *   rate:DELIVERIES:SECONDS  so many deliveries per second, in all
 *
 * or, with --returning, whose clients come back as the relay asks of them:
 *
 *   return:SECONDS           until the server ended every connection, and then all are back
 *   leave:SECONDS            until all are back, having broken off their connections at once
 *
 * and prints a line of JSON for the connecting and for each phase. With --stuck the last member of the first
 * room never speaks, and stops reading when the second phase begins.
 */
#include "load.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_EVERY_NS = 100000000, DRAIN_SECONDS = 10 };

struct load load = {
    .rooms = 1, .members = 10, .idle_members = 10, .bytes = 300,
    .connecting = 512, .processes = "", .warm = 1.0, .patience = 120,
};
struct client *clients;
struct room *rooms;
int everyone;

_Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *zeroed(size_t count, size_t size) {
    void *made = calloc(count ? count : 1, size);
    if (!made) fail("out of memory");
    return made;
}

/* --- who there is ------------------------------------------------------------------------------------- */

static void make_clients(void) {
    int active = load.rooms * load.members;
    everyone = active + load.idle;
    clients = zeroed((size_t)everyone, sizeof *clients);
    rooms = zeroed((size_t)load.rooms, sizeof *rooms);
    int speakers = load.talkers ? load.talkers : load.members - load.stuck;
    for (int i = 0; i < load.rooms; i++)
        rooms[i] = (struct room){.first = i * load.members,
                                 .members = load.members,
                                 .talkers = speakers,
                                 .listeners = load.members - 1};
    for (int i = 0; i < everyone; i++) {
        struct client *c = &clients[i];
        c->id = i;
        c->idle = i >= active;
        c->room = c->idle ? load.rooms + (i - active) / load.idle_members : i / load.members;
        c->place = c->idle ? 0 : i % load.members;
        if (!c->idle) c->heard = zeroed((size_t)speakers, sizeof *c->heard);
    }
}

static void connect_all(void) {
    struct usage before = usage();
    uint64_t start = now_ns();
    int next = 0;
    while (ready_clients < everyone) {
        while (next < everyone && connecting_clients < load.connecting) network_connect(&clients[next++]);
        network_poll(50000000);
        if ((double)(now_ns() - start) > load.patience * 1e9)
            fail("%d of %d had joined after %.0f s", ready_clients, everyone, load.patience);
    }
    uint64_t end = now_ns();
    while (now_ns() < end + 500000000) network_poll(20000000); /* let the news of who joined pass */
    struct usage after = usage();
    printf("{\"phase\":\"connect\",\"clients\":%d,\"seconds\":%.3f,\"cpu\":%.2f,"
           "\"kib_before\":%ld,\"kib_after\":%ld}\n",
           everyone, (double)(end - start) / 1e9, after.server - before.server, before.resident,
           after.resident);
    fflush(stdout);
}

/* --- phases ------------------------------------------------------------------------------------------- */

struct phase {
    char name[16];
    int window;
    uint64_t messages; /* 0: as many as the time allows */
    double deliveries_s, seconds;
};

static double per_message(void) {
    int64_t listeners = 0;
    for (int i = 0; i < load.rooms; i++) listeners += rooms[i].listeners;
    return (double)listeners / load.rooms;
}

static struct phase parse_phase(const char *text, double reached) {
    struct phase phase = {0};
    if (sscanf(text, "closed:%d:%lf", &phase.window, &phase.seconds) == 2 && phase.window > 0)
        strcpy(phase.name, "closed");
    else if (sscanf(text, "fill:%d:%lu", &phase.window, &phase.messages) == 2 && phase.window > 0) {
        strcpy(phase.name, "fill");
        phase.seconds = load.patience;
    } else if (sscanf(text, "half:%lf", &phase.seconds) == 1) {
        strcpy(phase.name, "half");
        phase.deliveries_s = reached / 2;
        if (reached <= 0) fail("half: follows a closed phase");
    } else if (sscanf(text, "rate:%lf:%lf", &phase.deliveries_s, &phase.seconds) == 2 &&
               phase.deliveries_s > 0)
        strcpy(phase.name, "rate");
    else if (sscanf(text, "return:%lf", &phase.seconds) == 1)
        strcpy(phase.name, "return");
    else if (sscanf(text, "leave:%lf", &phase.seconds) == 1)
        strcpy(phase.name, "leave");
    else
        fail("not a phase: %s", text);
    return phase;
}

/* When the stuck client was dropped, in seconds since it stopped reading; negative while it was not. */
static double stuck_gone = -1;
static int stuck_port;
static uint64_t stuck_since;

static void begin_stuck(void) {
    struct client *c = &clients[load.members - 1];
    stuck_port = network_port(c);
    stuck_since = now_ns();
    network_ignore(c);
    rooms[0].listeners--;
}

static void look_after_stuck(uint64_t now) {
    static uint64_t next_look;
    if (!stuck_port || stuck_gone >= 0 || now < next_look) return;
    next_look = now + LOOK_EVERY_NS;
    if (!network_knows(stuck_port)) stuck_gone = (double)(now - stuck_since) / 1e9;
}

static void run_until(uint64_t end, uint64_t messages) {
    for (uint64_t now; (now = now_ns()) < end && (!messages || traffic.messages < messages);) {
        int64_t pause = traffic_next(now);
        look_after_stuck(now);
        network_poll(pause < 0 ? 0 : pause > 2000000 ? 2000000 : pause);
    }
}

/* Returns the deliveries per second. */
static double run_phase(const struct phase *phase) {
    traffic_begin(phase->window, phase->deliveries_s / per_message());
    run_until(now_ns() + (uint64_t)(load.warm * 1e9), phase->messages);
    struct traffic from = traffic;
    struct usage before = usage();
    uint64_t start = now_ns();
    delays_clear();
    run_until(start + (uint64_t)(phase->seconds * 1e9), phase->messages);
    double seconds = (double)(now_ns() - start) / 1e9;
    struct usage after = usage();
    struct traffic to = traffic;
    double p50 = delay_ms(.5), p99 = delay_ms(.99), longest = (double)delays.longest / 1e6;
    traffic_end();
    for (uint64_t end = now_ns() + DRAIN_SECONDS * 1000000000ull; traffic_in_flight() > 0 && now_ns() < end;)
        network_poll(20000000);
    double deliveries = (double)(to.deliveries - from.deliveries), server = after.server - before.server,
           own = after.generator - before.generator;
    printf("{\"phase\":\"%s\",\"window\":%d,\"asked_s\":%.0f,\"seconds\":%.3f,\"deliveries_s\":%.0f,"
           "\"messages_s\":%.0f,\"accepted_s\":%.0f,\"cpu_per_million\":%.4f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,"
           "\"server_cpu\":%.3f,\"generator_cpu\":%.3f,\"other_cpu\":%.3f,\"peak_kib\":%ld,"
           "\"undelivered\":%ld,\"wrong\":%lu,"
           "\"held_back\":%lu,\"gone\":%d,\"stuck_gone_s\":%.2f,\"seq\":%lu}\n",
           phase->name, phase->window, phase->deliveries_s, seconds, deliveries / seconds,
           (double)(to.messages - from.messages) / seconds, (double)(to.accepted - from.accepted) / seconds,
           deliveries > 0 ? server / deliveries * 1e6 : 0, p50, p99, longest, server / seconds, own / seconds,
           (after.machine - before.machine - server - own) / seconds, usage().peak, (long)traffic_in_flight(),
           traffic.wrong, to.held_back - from.held_back, gone_clients, stuck_gone, clients[0].seq);
    fflush(stdout);
    return deliveries / seconds;
}

/* Waits until everybody was lost, or breaks off every connection, and then until everybody is back. */
static void run_return(const struct phase *phase) {
    uint64_t end = now_ns() + (uint64_t)(phase->seconds * 1e9), start;
    if (!strcmp(phase->name, "leave"))
        for (int i = 0; i < everyone; i++) network_leave(&clients[i]);
    while (ready_clients == everyone && now_ns() < end) network_poll(10000000);
    start = now_ns();
    uint64_t half = 0;
    while (ready_clients < everyone && now_ns() < end) {
        network_poll(10000000);
        if (ready_clients * 2 < everyone)
            half = 0;
        else if (!half)
            half = now_ns();
    }
    if (ready_clients < everyone)
        fail("%d of %d were back after %.0f s", ready_clients, everyone, phase->seconds);
    printf("{\"phase\":\"%s\",\"clients\":%d,\"half_s\":%.2f,\"seconds\":%.2f}\n", phase->name, everyone,
           (double)(half - start) / 1e9, (double)(now_ns() - start) / 1e9);
    fflush(stdout);
}

/* --- options ------------------------------------------------------------------------------------------ */

static const struct protocol *protocol_named(const char *name) {
    const struct protocol *known[] = {&clave, &nats, &irc, &mqtt};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i]->name, name)) return known[i];
    fail("no such protocol: %s", name);
}

static void read_options(int count, char **words) {
    static const struct option names[] = {
        {"protocol", 1, 0, 'p'}, {"port", 1, 0, 'P'},       {"processes", 1, 0, 'k'},
        {"tls", 0, 0, 's'},      {"rooms", 1, 0, 'r'},      {"members", 1, 0, 'm'},
        {"talkers", 1, 0, 't'},  {"idle", 1, 0, 'i'},       {"stuck", 0, 0, 'z'},
        {"bytes", 1, 0, 'b'},    {"connecting", 1, 0, 'c'}, {"warm", 1, 0, 'w'},
        {"accounts", 1, 0, 'a'}, {"version", 1, 0, 'v'},    {"certificate", 1, 0, 'd'},
        {"enrol", 0, 0, 'e'},    {"patience", 1, 0, 'T'},   {"returning", 0, 0, 'R'},
        {0, 0, 0, 0}};
    for (int letter; (letter = getopt_long(count, words, "", names, NULL)) != -1;) switch (letter) {
        case 'p': load.protocol = protocol_named(optarg); break;
        case 'P': load.port = atoi(optarg); break;
        case 'k': load.processes = optarg; break;
        case 's': load.tls = true; break;
        case 'r': load.rooms = atoi(optarg); break;
        case 'm': load.members = atoi(optarg); break;
        case 't': load.talkers = atoi(optarg); break;
        case 'i': load.idle = atoi(optarg); break;
        case 'z': load.stuck = true; break;
        case 'b': load.bytes = atoi(optarg); break;
        case 'c': load.connecting = atoi(optarg); break;
        case 'w': load.warm = atof(optarg); break;
        case 'a': load.accounts = optarg; break;
        case 'v': load.version = atoi(optarg); break;
        case 'd': load.certificate = optarg; break;
        case 'e': load.enrol = true; break;
        case 'R': load.returning = true; break;
        case 'T': load.patience = atof(optarg); break;
        default: exit(1);
        }
    if (!load.protocol || !load.port) fail("--protocol and --port are needed");
    if (load.rooms < 1 || load.members < 2 || load.members > 4096)
        fail("1 room or more, of 2 to 4096 members each");
    if (load.talkers > load.members - load.stuck) fail("more talkers than members that can talk");
    if (load.bytes < 256 || load.bytes > 400) fail("256 to 400 bytes: what an IRC line holds");
}

int main(int count, char **words) {
    read_options(count, words);
    make_clients();
    network_prepare();
    traffic_prepare();
    if (load.protocol == &clave) clave_prepare();
    connect_all();
    double reached = 0;
    for (int i = optind; i < count; i++) {
        struct phase phase = parse_phase(words[i], reached);
        if (load.returning) {
            run_return(&phase);
            continue;
        }
        if (load.stuck && i == optind + 1) begin_stuck();
        double rate = run_phase(&phase);
        if (phase.window && rate > reached) reached = rate;
    }
    return 0;
}
