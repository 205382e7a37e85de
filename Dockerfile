# One image; the command decides: serve | work | train | publish
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements.lock ./
RUN python -m venv /opt/opportune && /opt/opportune/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY . .
RUN /opt/opportune/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home opportune && mkdir /data && chown opportune /data
COPY --from=build /opt/opportune /opt/opportune
ENV PATH=/opt/opportune/bin:$PATH OPPORTUNE_HOME=/data OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
USER opportune
VOLUME /data
EXPOSE 8000
ENTRYPOINT ["opportune"]
CMD ["serve", "--host", "0.0.0.0"]
