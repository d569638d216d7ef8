# svcplane on no distribution: Node and keepalived, the shared libraries that are really loaded, and the JavaScript that
# is really imported. scripts/image-root performs these steps without a container engine.
FROM node:24-bookworm-slim AS build
RUN apt-get update && \
    apt-get install --yes --no-install-recommends keepalived libnftables1 && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY .npmrc package.json package-lock.json ./
RUN npm ci
COPY LICENSE ./
COPY src src
COPY native-bindings native-bindings
COPY scripts/build-bundle.ts scripts/build-bundle.ts
RUN npm run build
COPY scripts/image-root-files/collect.ts scripts/image-root-files/collect.ts
RUN node_modules/.bin/node scripts/image-root-files/collect.ts /image

FROM scratch
COPY --from=build /image /
# IPVS serves nobody but root, and of root's capabilities NET_ADMIN is all it asks for; keepalived wants NET_RAW, too.
USER 0:0
# Threads that share what malloc has take 10 MB less than those with areas of their own.
ENV HOME=/ PATH=/usr/bin:/usr/sbin MALLOC_ARENA_MAX=1
VOLUME ["/run/svcplane", "/var/lib/svcplane"]
ENTRYPOINT ["/usr/bin/svcplane"]
CMD ["run"]
