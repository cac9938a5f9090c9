# All commands of the project; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
PHOTO ?= data/samples/cat.jpg
IMAGE ?= pet-classifier:local
# An optional folder `shared` beside the checkout can provide weights and photos. Its additional test sets show pets, so only
# training on its photos uses them.
WEIGHTS ?= $(wildcard ../shared/weights/mobilenet_v2_imagenet.pth)
ifneq ($(findstring ../shared/,$(DATA)),)
EXTRA ?= $(wildcard ../shared/data/oxford-pets-trainval.zip)
OUTLIERS ?= $(wildcard ../shared/data/not-pets.zip)
endif
SAM := SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam
# uv installs the 6.4 GB of requirements-dev.txt in 25 s; pip takes four minutes.
UV := .venv/bin/uv
UV_INSTALL := $(UV) pip install --quiet --python
COMPOSE := docker compose --file infra/containers/compose.yaml
PORT ?= 8000
# Documents with generated parts; cog runs the Python between [[[cog and ]]] and inserts what it prints.
DOCUMENTS := README.md export/README.md lambda_app/README.md training/README.md infra/report/README.md infra/score/README.md infra/bench/RESULTS.md training/RESULTS.md
COG := $(BIN)/python -m cogapp --verbosity=1
GOLDEN := $(BIN)/python -m infra.smoke.golden
# The date and time in UTC, as ten digits. A new value makes a deployment publish a new version.
RELEASE ?= $(shell date -u +%y%m%d%H%M)
# Dependencies of ONNX Runtime and AnyIO that serving never imports (tests/test_imports.py).
UNUSED := flatbuffers idna packaging protobuf
UV_LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --no-annotate --upgrade
# uv installs no bytecode. If the shell forbade writing it, every process would compile its imports again.
export PYTHONDONTWRITEBYTECODE :=
# Turns off the usage reports of MLflow and DVC.
export DO_NOT_TRACK := 1
# MLflow adds these tags to every run.
ifdef ATTEMPT
export MLFLOW_RUN_CONTEXT := {"attempt": "$(ATTEMPT)"}
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)

# The values of these variables come from a form on GitHub, in jobs with a deployment role. Both a shell and make would execute
# commands in them, so make's text functions check their characters before anything expands them.
SAFE := A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d e f g h i j k l m n o p q r s t u v w x y z \
	0 1 2 3 4 5 6 7 8 9 . / : @ _ -
# $(call without,CHARACTERS,TEXT): TEXT without these characters.
without = $(if $1,$(call without,$(wordlist 2,$(words $1),$1),$(subst $(firstword $1),,$2)),$2)
$(foreach name,CANARY COMMIT ENV IMAGE_URI PREVIOUS SHARE VERSION,$(if $(call without,$(SAFE),$(value $(name))),\
	$(error $(name)=$(value $(name)): expected letters, digits and ./:@_- only)))
# $(call require,NAME,EXTENDED REGULAR EXPRESSION,EXPECTATION) stops make if the variable does not match. Use it only for the
# variables checked above.
require = $(if $(shell printf '%s' '$($1)' | grep -Ex '$2'),,$(error $1=$($1): expected $3))
REQUIRE_COMMIT = $(call require,COMMIT,[0-9a-f]{40},all 40 digits of a commit)
REQUIRE_IMAGE_URI = $(call require,IMAGE_URI,[a-z0-9._/:-]+@sha256:[0-9a-f]{64},REPOSITORY@sha256:DIGEST)
REQUIRE_ENV = $(if $(filter dev prod,$(ENV)),,$(error ENV=$(ENV): expected dev or prod))

.DELETE_ON_ERROR:
.PHONY: help demo run check check-code check-tests test coverage system lint lint-code lint-documents train suspects harvest accept forget loop-trial baselines attempts bench bench-input promote rollback dvc-pull dvc-push proposal results docs screenshot image compose-up compose-alert compose-down test-image invoke sbom vulnerabilities smoke golden collect-feedback evaluate score monitor deployed report report-summary baseline push deploy preview edge back off on split bootstrap localstack lock clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 20

demo: .venv/.serve .venv-sam/.installed  ## classify PHOTO=… in Lambda's runtime; print the answer, the log line and the times
	$(BIN)/python -m infra.emulator.demo "$(PHOTO)"

run: .venv/.serve .venv-sam/.installed  ## serve the page and the API on http://127.0.0.1:8000 (PORT=…), in Lambda's runtime
	$(BIN)/python -m infra.emulator.serve --port $(PORT)

# Both parts run in parallel and print only problems.
check: .venv/.check  ## lint all code; type-check and test lambda_app and infra, without PyTorch, in about a minute
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-code check-tests

check-code: TYPED = lambda_app infra  # these need no PyTorch; lint-code checks mypy's `files`
check-code lint-code:
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary $(TYPED)

check-tests:
	$(BIN)/python -m pytest --fast --numprocesses 2 tests/lambda_app tests/infra

# Two processes take 6 GB of memory.
TEST = $(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

test: lint  ## lint, type-check, and run every test that this machine can run
	$(TEST)

# Separate from `make test`, because measuring coverage takes 40 % of the tests' CPU time on Python 3.11.
coverage: .venv/.dev .venv-sam/.installed .venv-audit/.installed  ## run every test, and write the coverage to artifacts/coverage.json and the documents
	$(TEST) --cov && $(BIN)/python -m tests.support.coverage && $(COG) -r $(DOCUMENTS)

# GitHub's runners need SUDO=sudo and already have Chrome.
PROGRAMS ?= chromium curl libheif-examples libtiff-tools nodejs prometheus prometheus-alertmanager
system:  ## install the Debian packages that tests use (as root, or SUDO=sudo)
	$(SUDO) apt-get update --quiet --quiet
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends $(PROGRAMS)

lint: .venv/.dev .venv-sam/.installed .venv-audit/.installed  ## lint and type-check the code; check the generated documents and IAM policies
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint-code lint-documents

lint-documents:
	$(COG) --check $(DOCUMENTS)
	.venv-sam/bin/python -m infra.aws.policies | .venv-audit/bin/python -m infra.aws.policy_lint

# CONTRIBUTED=1 adds the photos of `make accept` to DATA, and links those that are held back.
ifdef CONTRIBUTED
ifeq ($(DATA),)
$(error CONTRIBUTED=$(CONTRIBUTED), but DATA is empty: expected DATA=… with the photos to train on beside the contributions)
endif
ifneq ($(wildcard data/contributions.dvc),)
ifeq ($(wildcard data/contributions),)
$(error CONTRIBUTED=$(CONTRIBUTED), but the photos of data/contributions.dvc are not in this checkout: run `make dvc-pull` first)
endif
endif
ifneq ($(wildcard data/contributions/accepted),)
override DATA += data/contributions/accepted
endif
endif

# CLASSES=top or bottom selects the level of folders that names the classes; SPLIT=given or hash the source of the splits.
SOURCES = --data "$(DATA)" --classes "$(CLASSES)" --split "$(SPLIT)"
FETCH = $(BIN)/python -m training.fetch $(SOURCES) --weights "$(WEIGHTS)" --extra $(EXTRA) --outliers $(OUTLIERS) \
	$(if $(CONTRIBUTED),--contributed)
train: .venv/.train .venv-sam/.installed  ## train, evaluate, convert and release a model (DATA=names, archives or folders; DRY=1 only describes; CLASSES=, SPLIT=, EXTRA=, OUTLIERS=; CONTRIBUTED=1 adds accepted contributions)
	$(if $(DRY),@$(BIN)/python -m training.dry_run $(SOURCES))
	$(if $(DRY),,@$(BIN)/python -m training.config)
	$(if $(DRY),,$(FETCH))
	$(if $(DRY),,$(BIN)/dvc repro prepare)
	$(if $(DRY),,@$(BIN)/python -m training.overview)
	$(if $(DRY),,$(BIN)/dvc repro)
	$(if $(DRY),,$(GOLDEN))
	$(if $(DRY),,@$(BIN)/python -m export.training_summary --print)

suspects: .venv/.train  ## list and draw photos with suspicious labels, with a suggestion (DATA=, CLASSES=, CONTRIBUTED= and so on as for train; APPLY=1 applies the decisions)
	$(if $(APPLY),@$(BIN)/python -m training.tools.apply_decisions)
	$(if $(APPLY),,@$(BIN)/python -m training.config)
	$(if $(APPLY),,$(FETCH))
	$(if $(APPLY),,$(BIN)/dvc repro prepare)
	$(if $(APPLY),,@$(BIN)/python -m training.tools.suspects)

# The folder of a review.
OUT_REVIEW = $(if $(OUT),$(OUT),artifacts/harvest)

harvest: .venv/.train  ## download contributions from SOURCE=s3://… or a folder to OUT=folder, screen them, and write review.html
	@$(BIN)/python -m training.harvest "$(SOURCE)" --out "$(OUT_REVIEW)"

accept: .venv/.train  ## add the accepted photos of OUT=folder to data/contributions, with DVC; record the rejected ones (UNCHANGED=1 accepts the proposals without a saved review)
	@$(BIN)/python -m training.harvest.accept --out "$(OUT_REVIEW)" $(if $(UNCHANGED),--unchanged)

forget: .venv/.train  ## delete the photo of REQUEST_ID=… from SOURCE=s3://…, OUT=folder, the data set and DVC's storage
	@$(BIN)/python -m training.harvest.forget "$(REQUEST_ID)" --source "$(SOURCE)" --out "$(OUT_REVIEW)"

loop-trial: .venv/.train .venv-sam/.installed  ## train without the photos KIND='cat/Bombay_*' of DATA=, contribute the mistakes, retrain, and measure (PARAMS=)
	$(BIN)/python -m export.experiments.loop_trial "$(DATA)" --kind "$(KIND)" $(if $(PARAMS),--params $(PARAMS))

promote: .venv/.train .venv-sam/.installed  ## release the challenger even if it lost the comparison
	$(BIN)/python -m export.release --promote
	$(BIN)/python -m export.card
	$(BIN)/python -m export.training_summary
	$(GOLDEN)
	$(BIN)/python -m export.drift_reference

rollback: .venv/.train .venv-sam/.installed  ## restore the previous model in this checkout (deployment: `make back`)
	$(BIN)/python -m export.release --rollback
	$(BIN)/python -m export.training_summary
	$(GOLDEN)
	$(BIN)/python -m export.drift_reference

dvc-pull: .venv/.train  ## download photos and cached results of training runs from DVC's storage; skip missing ones
	$(BIN)/dvc pull --run-cache --allow-missing

dvc-push: .venv/.train  ## upload photos and cached results of training runs to DVC's storage
	$(BIN)/dvc push --run-cache

proposal: .venv/.serve  ## write a pull request's text to artifacts/proposal.md: figures of the new model and of the last commit
	PYTHONPATH=. $(BIN)/python .github/scripts/proposal.py

baselines: .venv/.dev  ## train eight architectures the same way (up to an hour); rewrite their table in training/RESULTS.md
	$(BIN)/python -m export.experiments.baselines
	$(COG) -r $(DOCUMENTS)

attempts: .venv/.dev  ## rewrite the table of training runs tagged with ATTEMPT='description'
	$(BIN)/python -m training.tools.attempts
	$(COG) -r $(DOCUMENTS)

bench-input: .venv/.dev  ## measure whether reading photos limits training (ten minutes on an idle machine)
	$(BIN)/python -m training.tools.input_benchmark
	$(COG) -r $(DOCUMENTS)

bench: .venv/.dev .venv-sam/.installed  ## benchmark the function against peers, to artifacts/bench.json (30 minutes on an idle machine; QUICK=1: 10)
	$(BIN)/python -m infra.bench $(if $(QUICK),--quick)
	$(if $(QUICK),,$(BIN)/python -m infra.bench.growth)
	$(BIN)/python -m infra.bench.fleet
	$(BIN)/python -m infra.bench.batch
	$(COG) -r $(DOCUMENTS)

results: .venv/.dev .venv-sam/.installed  ## read the API and an example response from the function, and rewrite the documents with them
	$(BIN)/python -m infra.documents
	$(COG) -r $(DOCUMENTS)

docs: .venv/.dev  ## rewrite the generated parts of the documents from the figures in artifacts/
	$(COG) -r $(DOCUMENTS)

screenshot: .venv/.dev .venv-sam/.installed  ## take .github/page.png, the picture of the page in README (needs Chromium)
	$(BIN)/python -m tests.support.screenshot

# BUILDX_NO_DEFAULT_ATTESTATIONS: Lambda rejects the image index that attestations need. PLATFORM: Apple silicon would build an
# arm64 image, which fails with "exec format error".
PLATFORM := linux/amd64
# The label org.opencontainers.image.version of both images.
SOFTWARE_VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' lambda_app/__init__.py)
image:  ## build the Lambda container image
	infra/image/base_image.sh
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform $(PLATFORM) -q -f Dockerfile.lambda -t $(IMAGE) \
		--build-arg COMMIT=$(shell git describe --always --abbrev=40 --exclude='*' --dirty) \
		--build-arg VERSION=$(SOFTWARE_VERSION) .

test-image: .venv/.dev .venv-sam/.installed  ## test IMAGE without building it again
	TEST_IMAGE="$(IMAGE)" $(BIN)/python -m pytest tests/infra/image

compose-up:  ## start classifier, MLflow, Prometheus, Alertmanager, Grafana on ports 8000, 5000, 9090, 9093, 3000 (ALERT_URL_FILE=…, CONTRIBUTIONS=/contributions)
	infra/image/base_image.sh
	SOFTWARE_VERSION=$(SOFTWARE_VERSION) CONTRIBUTIONS="$(CONTRIBUTIONS)" $(COMPOSE) up --build --wait

compose-alert:  ## send a test alert, which should arrive within a minute
	$(COMPOSE) exec -T alertmanager amtool --alertmanager.url=http://127.0.0.1:9093 alert add Trial severity=warning \
		--annotation='summary="A trial:"' --annotation='description="nothing is wrong."'

compose-down:  ## stop these containers; keep their volumes
	$(COMPOSE) down

invoke: .venv/.serve .venv-sam/.installed  ## classify PHOTO=… in the container, with sam build and sam local invoke
	infra/image/base_image.sh
	mkdir -p .aws-sam && $(BIN)/python -m infra.emulator.event "$(PHOTO)" > .aws-sam/event.json
	$(SAM) build
	$(SAM) local invoke Classifier --event .aws-sam/event.json

sbom: .venv-audit/.installed  ## write the SBOM of the image's Python packages to artifacts/sbom.cdx.json (CycloneDX)
	.venv-audit/bin/cyclonedx-py requirements requirements-serve.txt --sv 1.6 --output-reproducible \
		-o artifacts/sbom.cdx.json

# --strict: fail if the database does not know a package or does not answer.
vulnerabilities: .venv-audit/.installed  ## check the serving packages for known vulnerabilities in PyPI's database
	.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		-r requirements-serve.txt -r infra/containers/server/requirements.txt

deployed: .venv/.serve  ## print image, commit, previous version, URL, authentication and CORS origin of ENV=dev or prod, as NAME=VALUE lines
	@$(BIN)/python -m infra.aws deployed "$(ENV)"

# $(call option,NAME,name): --name "value" if NAME is set.
option = $(if $($1),--$2 "$($1)")

smoke: .venv/.serve  ## run the smoke test against URL=… (ENV= compares settings; AUTH=, PROFILE=, VERSION=, COMMIT=, IMAGE_URI=, ORIGIN=, WAIT=, JSON=)
	@$(BIN)/python -m infra.smoke "$(URL)" $(call option,ENV,environment) $(call option,AUTH,auth) \
		$(call option,PROFILE,profile) $(call option,VERSION,version) $(call option,COMMIT,commit) $(call option,IMAGE_URI,image) \
		$(call option,ORIGIN,origin) $(call option,WAIT,wait) $(call option,JSON,json)

JOURNAL ?= artifacts/replay.jsonl
COLLECT = $(BIN)/python -m infra.replay "$(URL)" "$(DATA)" --output "$(JOURNAL)" $(call option,AUTH,auth) \
	$(call option,PROFILE,profile) $(call option,RATE,rate) $(call option,SHARE,share) $(call option,DELAY,delay)

collect-feedback: .venv/.train  ## send DATA=photos (one folder per class) to URL=…, and their labels as feedback (RATE=, SHARE=, DELAY=, JOURNAL=)
	@$(COLLECT)

score: .venv/.train  ## classify all photos of SOURCE=s3://… through QUEUE=; collect results from RESULTS=s3://… into OUT=file.parquet (RETRY=1, GATHER=notified)
	@$(BIN)/python -m infra.score $(if $(GATHER),--gather "$(GATHER)","$(SOURCE)" --queue "$(QUEUE)") \
		--results "$(RESULTS)" $(call option,OUT,out) $(if $(RETRY),--retry)

# If the collection exits with 1, because the service failed on some photos, evaluate the others, then fail.
evaluate: .venv/.train  ## compute accuracy and latency from collect-feedback's journal, to artifacts/post_deploy.json (with URL= and DATA=, collect first)
	@code=0; $(if $(URL),$(COLLECT) || code=$$?; [ $$code -le 1 ] || exit $$code;) \
		$(BIN)/python -m infra.replay.post_deploy_evaluation "$(JOURNAL)" $(call option,JSON,json) && exit $$code

# The report exits with 3 for an alarm, which is not a failure of this target.
monitor: .venv/.train  ## write and publish the report of SOURCE=… (SINCE=); print alarm= and retrain=; fail if there is no report
	@$(BIN)/python -m infra.report "$(SOURCE)" $(call option,SINCE,since) --publish --outputs || [ $$? = 3 ]

# make exits with 2 if a command fails, so the report's exit code 3, for an alarm, is visible only in report.json and the output.
report: .venv/.train  ## report load, latency, accuracy and drift from SOURCE=log group, file or - (SINCE=7d, OUT=folder, PUBLISH=1 to CloudWatch, SYNTHETIC=1)
	@$(BIN)/python -m infra.report "$(SOURCE)" $(call option,SINCE,since) $(call option,OUT,out) $(if $(PUBLISH),--publish) \
		$(if $(SYNTHETIC),--synthetic)

report-summary:  ## print the last report's summary as Markdown
	@cat artifacts/report/report.md

baseline: .venv/.train  ## use SOURCE=… of a good week (SINCE=7d) as the drift baseline of the serving model, in artifacts/baseline.json
	@$(BIN)/python -m infra.report.baseline "$(SOURCE)" $(call option,SINCE,since)

golden: .venv/.serve .venv-sam/.installed  ## record the golden responses for the bundled photos, which the smoke test compares
	$(GOLDEN)

# Registries require lower case. The tag is part of the image's ID, so a push that fails because the tag exists is harmless:
# the existing tag is this image, and `docker pull` fetches its digest.
push: LOWER = $(shell echo "$(REPOSITORY)" | tr A-Z a-z)
push:  ## push IMAGE to REPOSITORY=…; print REPOSITORY@sha256:DIGEST
	$(if $(REPOSITORY),,$(error REPOSITORY is empty: expected the registry's repository, an output of the bootstrap stack))
	@id=$$(docker image inspect --format '{{slice .Id 7 19}}' "$(IMAGE)") && tag="$(LOWER):$$id" \
		&& docker tag "$(IMAGE)" "$$tag" && { docker push "$$tag" || docker pull "$$tag"; } >&2 \
		&& docker image inspect --format '{{join .RepoDigests "\n"}}' "$$tag" | grep -F "$(LOWER)@"

# SAM CLI requires --image-repository but does not use it: the image is already pushed. defaults.yaml is passed too, because
# CloudFormation keeps the previous value of a parameter that is left out. PREVIOUS overrides the version that `make back` will
# return to: the workflow's rollback passes the one that was recorded before the failed deployment.
deploy: COMMIT ?= $(shell test -z "$$(git status --porcelain)" && git rev-parse HEAD)
deploy: .venv/.serve .venv-sam/.installed  ## deploy IMAGE_URI=REPOSITORY@sha256:DIGEST to ENV=dev or prod (COMMIT=… if not that of a clean checkout; CANARY=AllAtOnce ignores alarms)
	$(REQUIRE_ENV)
	$(REQUIRE_IMAGE_URI)
	$(if $(COMMIT),,$(error COMMIT is empty: expected COMMIT=… or a checkout without changes))
	$(REQUIRE_COMMIT)
	$(if $(PREVIOUS),$(call require,PREVIOUS,[0-9]+,the number of a version))
	live=$$($(BIN)/python -m infra.aws live-version "$(ENV)") && \
	$(SAM) deploy --config-env "$(ENV)" --template-file template.yaml --image-repository "$(firstword $(subst @, ,$(IMAGE_URI)))" \
		--parameter-overrides file://infra/aws/defaults.yaml "file://infra/aws/$(ENV).yaml" \
		ImageUri="$(IMAGE_URI)" Commit="$(COMMIT)" Release="$(RELEASE)" PreviousVersion="$(or $(PREVIOUS),$$live)" \
		$(if $(CANARY),Canary="$(CANARY)")

preview: .venv/.serve  ## print the changes of deploying IMAGE_URI=… of COMMIT=… to ENV= as Markdown, without deploying
	$(REQUIRE_ENV)
	$(REQUIRE_IMAGE_URI)
	$(REQUIRE_COMMIT)
	@$(BIN)/python -m infra.aws preview "$(ENV)" --image "$(IMAGE_URI)" --commit "$(COMMIT)"

# The function's stack must allow the distribution: EdgeDistribution in infra/aws/ENV.yaml.
edge: .venv/.serve .venv-sam/.installed  ## deploy CloudFront and WAF in front of the private URL of ENV=dev or prod
	$(REQUIRE_ENV)
	domain=$$($(BIN)/python -m infra.aws host "$(ENV)") && \
	$(SAM) deploy --config-file "$(CURDIR)/samconfig.toml" --config-env "$(ENV)-edge" --template-file infra/aws/edge.yaml \
		--parameter-overrides file://infra/aws/edge-defaults.yaml "file://infra/aws/edge-$(ENV).yaml" FunctionDomain="$$domain"

back: .venv/.serve  ## emergency: roll ENV= back to the version before the last deployment (VERSION=… for another one)
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws back "$(ENV)" $(call option,VERSION,version)

off: .venv/.serve  ## emergency: turn ENV= off: requests get 429, and the batch function stops
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws off "$(ENV)"

on: .venv/.serve  ## turn ENV= on again after `make off`
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws on "$(ENV)"

split: .venv/.serve  ## send SHARE=… percent of the traffic of ENV= to the challenger VERSION=…; SHARE=0 ends the split
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws split "$(ENV)" --share "$(SHARE)" $(call option,VERSION,version)

bootstrap: .venv-sam/.installed  ## once per account: deploy identity provider, roles, repository, bucket, budget (GITHUB=OWNER/REPOSITORY EMAIL=…)
	$(SAM) deploy --config-file "$(CURDIR)/samconfig.toml" --config-env bootstrap --template-file infra/aws/bootstrap.yaml \
		--parameter-overrides GitHub="$(GITHUB)" Email="$(EMAIL)" $(BOOTSTRAP)

localstack: image .venv/.serve .venv-sam/.installed  ## deploy the stack to LocalStack and classify photos there (KEEP=1 leaves it running)
	$(BIN)/python -m infra.localstack $(if $(KEEP),--keep)

lock: | $(UV)  ## update every requirements file from pyproject.toml
	$(UV_LOCK) --generate-hashes $(UNUSED:%=--no-emit-package=%) --group serve -o requirements-serve.txt pyproject.toml
	$(UV_LOCK) --group train -c requirements-serve.txt -o requirements-train.txt pyproject.toml
	$(UV_LOCK) --group dev -c requirements-train.txt -o requirements-dev.txt pyproject.toml
	$(UV_LOCK) --group check -c requirements-dev.txt -o requirements-check.txt pyproject.toml
	$(UV_LOCK) --group local -c requirements-dev.txt -o infra/emulator/requirements.txt pyproject.toml
	$(UV_LOCK) --generate-hashes --group server -c infra/emulator/requirements.txt -o infra/containers/server/requirements.txt pyproject.toml
	$(UV_LOCK) --group sam -o infra/emulator/requirements-sam.txt pyproject.toml
	$(UV_LOCK) --generate-hashes --group audit -o infra/aws/requirements-audit.txt pyproject.toml

clean:  ## remove environments and tool caches; keep photos, models and DVC's cache
	rm -rf .coverage* .venv .venv-sam .venv-audit .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(UV):
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -qq --disable-pip-version-check uv==0.13.9

# --no-deps: the file is complete, without the packages in UNUSED. Bytecode, as in the image, because `make demo` measures the
# first start.
.venv/.serve: requirements-serve.txt infra/emulator/requirements.txt | $(UV)
	$(UV_INSTALL) .venv --no-deps --require-hashes --compile-bytecode -r requirements-serve.txt
	$(UV_INSTALL) .venv -r infra/emulator/requirements.txt
	touch $@

.venv/.check: .venv/.serve requirements-check.txt
	$(UV_INSTALL) .venv -r requirements-check.txt
	touch $@

.venv/.train: .venv/.serve requirements-train.txt
	$(UV_INSTALL) .venv -r requirements-train.txt
	touch $@

.venv/.dev: .venv/.train requirements-dev.txt
	$(UV_INSTALL) .venv -r requirements-dev.txt
	touch $@

# A separate environment: SAM CLI pins many packages, and together with it only year-old versions of the audit tools resolve.
.venv-sam/.installed: infra/emulator/requirements-sam.txt | $(UV)
	$(UV) venv --quiet --clear --python .venv/bin/python .venv-sam
	$(UV_INSTALL) .venv-sam -r infra/emulator/requirements-sam.txt
	touch $@

.venv-audit/.installed: infra/aws/requirements-audit.txt | $(UV)
	$(UV) venv --quiet --clear --python .venv/bin/python .venv-audit
	$(UV_INSTALL) .venv-audit -r infra/aws/requirements-audit.txt
	touch $@
