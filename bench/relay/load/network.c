/* Sockets, TLS and epoll: bytes in, bytes out. Knows no protocol. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18, STUCK_BUFFER = 1 << 16 };

int ready_clients, gone_clients, connecting_clients;
static int epoll;
static SSL_CTX *context;
static int *with_output, with_output_count;

void network_prepare(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < (rlim_t)everyone + 64)
        fail("%d connections need more open files than the %lu allowed; run: ulimit -n %d", everyone,
             (unsigned long)files.rlim_cur, everyone + 64);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    with_output = zeroed((size_t)everyone, sizeof *with_output);
    if (!load.tls) return;
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    if (load.protocol->alpn)
        SSL_CTX_set_alpn_protos(context, load.protocol->alpn, load.protocol->alpn[0] + 1u);
}

/* --- out ---------------------------------------------------------------------------------------------- */

char *reserve(struct client *c, size_t n) {
    if (c->out.used + n > c->out.room) {
        c->out.room = (c->out.used + n) * 2;
        c->out.at = realloc(c->out.at, c->out.room);
        if (!c->out.at) fail("out of memory");
    }
    if (!c->has_output) {
        c->has_output = true;
        with_output[with_output_count++] = c->id;
    }
    char *at = c->out.at + c->out.used;
    c->out.used += n;
    return at;
}

void put(struct client *c, const void *from, size_t n) { memcpy(reserve(c, n), from, n); }

void putf(struct client *c, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put(c, text, (size_t)n);
}

static void watch(struct client *c, bool blocked) {
    c->blocked = blocked;
    struct epoll_event event = {.events = (c->stuck ? 0 : EPOLLIN) | (blocked ? EPOLLOUT : 0),
                                .data.u32 = (uint32_t)c->id};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

/* When it comes back: as the relay asked, and as the client's own patience has it. */
static uint64_t pause_ms(const struct client *c) {
    double usual = c->tries < 7 ? 250 << c->tries : 30000, spread = c->tries ? 0 : c->spread;
    if (c->retry_after) spread = 0;
    return c->retry_after + (uint64_t)(drand48() * (usual > spread ? usual : spread));
}

static void go_for_now(struct client *c) {
    if (c->state == READY)
        ready_clients--;
    else
        connecting_clients--;
    c->back_at = now_ns() + pause_ms(c) * 1000000;
    c->tries++;
    c->state = GONE;
    c->retry_after = 0;
    c->in.used = c->out.used = 0;
    if (c->tls) SSL_free(c->tls);
    c->tls = NULL;
    close(c->fd);
}

void network_leave(struct client *c) {
    if (c->state != GONE) go_for_now(c);
}

static void let_return(uint64_t now) {
    static uint64_t next_look;
    if (!load.returning || now < next_look) return;
    next_look = now + 10000000;
    for (int i = 0; i < everyone; i++)
        if (clients[i].state == GONE && clients[i].back_at && now >= clients[i].back_at)
            network_connect(&clients[i]);
}

static void lose(struct client *c) {
    if (c->state == GONE) return;
    if (load.returning) {
        go_for_now(c);
        return;
    }
    if (c->state < READY)
        fail("the server closed connection %d while it logged in; %d had", c->id, ready_clients);
    if (!c->stuck) gone_clients++;
    c->state = GONE;
    close(c->fd);
}

static void write_out(struct client *c) {
    size_t sent = 0;
    while (sent < c->out.used && c->state != GONE) {
        size_t left = c->out.used - sent;
        ssize_t n;
        if (c->tls) {
            n = SSL_write(c->tls, c->out.at + sent, (int)left);
            if (n <= 0 && SSL_get_error(c->tls, (int)n) == SSL_ERROR_WANT_WRITE) break;
        } else {
            n = send(c->fd, c->out.at + sent, left, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) break;
        }
        if (n <= 0) {
            ERR_clear_error();
            lose(c);
            return;
        }
        sent += (size_t)n;
    }
    c->out.used -= sent;
    if (sent && c->out.used) memmove(c->out.at, c->out.at + sent, c->out.used);
    if (c->blocked != (c->out.used > 0)) watch(c, c->out.used > 0);
}

void network_flush(void) {
    for (int i = 0; i < with_output_count; i++) {
        struct client *c = &clients[with_output[i]];
        c->has_output = false;
        if (c->state != GONE && !c->blocked) write_out(c);
    }
    with_output_count = 0;
}

/* --- in ----------------------------------------------------------------------------------------------- */

static void read_in(struct client *c) {
    static char buffer[READ_BYTES];
    do {
        size_t kept = c->in.used;
        if (kept > sizeof buffer / 2) fail("a message larger than the load generator expects");
        if (kept) memcpy(buffer, c->in.at, kept);
        ssize_t n;
        if (c->tls) {
            n = SSL_read(c->tls, buffer + kept, (int)(sizeof buffer - kept));
            if (n <= 0 && SSL_get_error(c->tls, (int)n) == SSL_ERROR_WANT_READ) return;
        } else {
            n = recv(c->fd, buffer + kept, sizeof buffer - kept, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) return;
        }
        if (n <= 0) {
            ERR_clear_error();
            lose(c);
            return;
        }
        size_t have = kept + (size_t)n, used = load.protocol->take(c, buffer, have, now_ns());
        if (c->state == GONE) return;
        c->in.used = have - used;
        if (c->in.used > c->in.room) {
            c->in.room = c->in.used + 512;
            c->in.at = realloc(c->in.at, c->in.room);
            if (!c->in.at) fail("out of memory");
        }
        if (c->in.used) memcpy(c->in.at, buffer + used, c->in.used);
    } while (c->tls && SSL_has_pending(c->tls));
}

/* --- connecting --------------------------------------------------------------------------------------- */

void network_connect(struct client *c) {
    int one = 1, small = STUCK_BUFFER;
    struct linger reset = {1, 0}; /* or ten thousand ports wait a minute for the next run */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (load.stuck && c->id == load.members - 1)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    c->state = CONNECTING;
    c->blocked = true;
    connecting_clients++;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        if (!load.returning) fail("connect: %s", strerror(errno));
        lose(c);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)c->id};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static bool past_clear_line(struct client *c) {
    char text[8192], *end;
    if (c->in_clear) return true;
    ssize_t n = recv(c->fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0 || !(end = memchr(text, '\n', (size_t)n))) return false;
    c->in_clear = recv(c->fd, text, (size_t)(end - text + 1), MSG_DONTWAIT) > 0;
    return c->in_clear;
}

static void shake_hands(struct client *c) {
    if (load.protocol->clear_line_first && !past_clear_line(c)) return;
    int result = SSL_connect(c->tls);
    if (result == 1) {
        c->state = GREETING;
        watch(c, false);
        load.protocol->greet(c);
        return;
    }
    int error = SSL_get_error(c->tls, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        if (!load.returning) fail("a TLS handshake failed");
        ERR_clear_error();
        lose(c);
        return;
    }
    watch(c, error == SSL_ERROR_WANT_WRITE);
}

static void connected(struct client *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error && !load.returning) fail("connect: %s", strerror(error));
    if (error) {
        lose(c);
        return;
    }
    watch(c, false);
    if (!load.tls) {
        c->state = GREETING;
        load.protocol->greet(c);
        return;
    }
    c->state = SHAKING_HANDS;
    c->tls = SSL_new(context);
    SSL_set_fd(c->tls, c->fd);
    shake_hands(c);
}

void ready(struct client *c) {
    if (c->state == READY) return;
    c->state = READY;
    c->tries = 0;
    ready_clients++;
    connecting_clients--;
}

void network_poll(int64_t nanoseconds) {
    let_return(now_ns());
    static struct epoll_event events[1024];
    struct timespec wait = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    int n = epoll_pwait2(epoll, events, 1024, &wait, NULL);
    if (n < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct client *c = &clients[events[i].data.u32];
        uint32_t what = events[i].events;
        if (c->state == GONE) continue;
        if (c->state == CONNECTING) {
            if (what & EPOLLOUT || what & EPOLLERR) connected(c);
        } else if (c->state == SHAKING_HANDS) {
            shake_hands(c);
        } else if (c->stuck) {
            if (what & (EPOLLHUP | EPOLLERR)) lose(c);
        } else {
            if (what & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_in(c);
            if (c->state != GONE && what & EPOLLOUT) write_out(c);
        }
    }
    network_flush();
}

/* --- one that never reads ----------------------------------------------------------------------------- */

void network_ignore(struct client *c) {
    c->stuck = true;
    watch(c, c->blocked);
}

int network_port(const struct client *c) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(c->fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

bool network_knows(int client_port) {
    const char *tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(tables[i], "r");
        char line[512];
        bool found = false;
        while (file && !found && fgets(line, sizeof line, file)) {
            unsigned own, other, state; /* 1: established */
            found = sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%x %x", &own, &other, &state) == 3 &&
                    own == (unsigned)load.port && other == (unsigned)client_port && state == 1;
        }
        if (file) fclose(file);
        if (found) return true;
    }
    return false;
}
