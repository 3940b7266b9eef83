/* Delays, processor time and memory. Knows no clients. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct delays delays;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void delays_clear(void) { memset(&delays, 0, sizeof delays); }

double delay_ms(double share) {
    uint64_t wanted = (uint64_t)(share * (double)delays.count), passed = 0;
    for (int i = 0; i < 64 * 64; i++)
        if ((passed += delays.counts[i]) > wanted) return (double)((uint64_t)(i % 64) << (i / 64)) / 1e6;
    return (double)delays.longest / 1e6;
}

static double server_seconds(int process) {
    char text[4096];
    snprintf(text, sizeof text, "/proc/%d/stat", process);
    FILE *file = fopen(text, "r");
    if (!file) fail("the server, process %d, has ended", process);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    unsigned long user = 0, system = 0;
    char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        fail("cannot read /proc/%d/stat", process);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void add_memory(int process, struct usage *sum) {
    char text[256];
    snprintf(text, sizeof text, "/proc/%d/status", process);
    FILE *file = fopen(text, "r");
    if (!file) fail("the server, process %d, has ended", process);
    while (fgets(text, sizeof text, file)) {
        if (!strncmp(text, "VmRSS:", 6)) sum->resident += atol(text + 6);
        if (!strncmp(text, "VmHWM:", 6)) sum->peak += atol(text + 6);
    }
    fclose(file);
}

static double machine_seconds(void) {
    unsigned long long t[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    if (!file || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", t, t + 1, t + 2, t + 3, t + 4,
                        t + 5, t + 6, t + 7) != 8)
        fail("cannot read /proc/stat");
    fclose(file);
    unsigned long long busy = t[0] + t[1] + t[2] + t[5] + t[6] + t[7]; /* not idle, not I/O wait */
    return (double)busy / (double)sysconf(_SC_CLK_TCK);
}

struct usage usage(void) {
    struct usage sum = {.machine = machine_seconds()};
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    sum.generator = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                    (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
    for (const char *p = load.processes; *p; p += *p == ',') {
        int process = (int)strtol(p, (char **)&p, 10);
        sum.server += server_seconds(process);
        add_memory(process, &sum);
    }
    return sum;
}
