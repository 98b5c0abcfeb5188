// Loaded before a program, it writes down every name that is looked up and every address outside this machine that a
// socket is sent to, and lets neither through. LD_PRELOAD=watched.so WATCHED_LOG=file program
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void note(const char *what, const char *value) {
    const char *path = getenv("WATCHED_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "%s %s\n", what, value);
        fclose(log);
    }
}

static int ours(const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "";
    if (!address) return 1;
    if (address->sa_family == AF_INET) {
        const struct in_addr *ip = &((const struct sockaddr_in *)address)->sin_addr;
        if ((ntohl(ip->s_addr) >> 24) == 127 || ip->s_addr == 0) return 1;
        inet_ntop(AF_INET, ip, text, sizeof text);
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_UNSPECIFIED(ip)) return 1;
        inet_ntop(AF_INET6, ip, text, sizeof text);
    } else {
        return 1;
    }
    struct ifaddrs *all = NULL;
    int found = 0;
    if (getifaddrs(&all) == 0) {
        for (struct ifaddrs *each = all; each && !found; each = each->ifa_next) {
            char own[INET6_ADDRSTRLEN] = "";
            if (!each->ifa_addr) continue;
            if (each->ifa_addr->sa_family == AF_INET)
                inet_ntop(AF_INET, &((struct sockaddr_in *)each->ifa_addr)->sin_addr, own, sizeof own);
            else if (each->ifa_addr->sa_family == AF_INET6)
                inet_ntop(AF_INET6, &((struct sockaddr_in6 *)each->ifa_addr)->sin6_addr, own, sizeof own);
            found = strcmp(own, text) == 0;
        }
        freeifaddrs(all);
    }
    if (!found) note("address", text);
    return found;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    unsigned char number[sizeof(struct in6_addr)];
    if (!real) real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strcmp(name, "localhost") && inet_pton(AF_INET, name, number) != 1 && inet_pton(AF_INET6, name, number) != 1) {
        note("name", name);
        return EAI_NONAME;
    }
    return real(name, service, hints, found);
}

struct hostent *gethostbyname(const char *name) {
    note("name", name);
    return NULL;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    if (!ours(address)) {
        errno = ENETUNREACH;
        return -1;
    }
    return real(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "sendto");
    if (!ours(address)) {
        errno = ENETUNREACH;
        return -1;
    }
    return real(socket, data, size, flags, address, length);
}
