# Skerry with the field survey app; put your own app in place of it.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY core core
COPY sync_protocol sync_protocol
COPY edge edge
COPY clients/python clients/python
# The locked versions of what the node needs; the lock's other lines are for development.
RUN sed -n 's/^\([a-z][^ ]*==[^ ]*\).*/\1/p' requirements.lock > constraints.txt \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
# A volume that is mounted over /data may be root's: fly.toml says what to do once.
RUN useradd --uid 1000 --create-home skerry && install -d -o skerry -g skerry /data
COPY --from=build /venv /venv
COPY examples/field_survey/app.py /app/app.py
ENV PATH=/venv/bin:$PATH SKERRY_DATA=/data SKERRY_HOST=::
USER skerry
WORKDIR /app
VOLUME /data
EXPOSE 8787
# Exec form: the node is process 1 and gets SIGTERM itself.
CMD ["skerry", "serve", "app.py"]
