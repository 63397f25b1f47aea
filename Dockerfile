# The package with its configuration and the demo; see docs/howto/elsewhere.md.
FROM python:3.11-slim

COPY . /tmp/source
RUN python -m pip install --no-cache-dir -c /tmp/source/constraints.txt "/tmp/source[demo]" \
    && rm -rf /tmp/source

RUN useradd --uid 1000 --create-home unfused \
    && mkdir -p /unfused/data \
    && chown -R unfused:unfused /unfused
ENV DO_NOT_TRACK=1 PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
USER unfused
WORKDIR /unfused
VOLUME /unfused/data

ENTRYPOINT ["unfused"]
CMD ["run", "--pipelines=unfused"]
