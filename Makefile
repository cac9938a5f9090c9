# Commands of README.md and of the workflows.

PYTHON ?= python3
BIN := .venv/bin
PHOTO ?= data/samples/cat.jpg
IMAGE ?= pet-classifier:local
# A folder `shared` beside the checkout may hold weights and photos; nothing needs it.
WEIGHTS ?= $(wildcard ../shared/weights/mobilenet_v2_imagenet.pth)
EXTRA ?= $(wildcard ../shared/data/oxford-pets-trainval.zip)
OUTLIERS ?= $(wildcard ../shared/data/not-pets.zip)
SAM := SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam
# uv installs the 6.4 GB of requirements-dev.txt in 25 s, where pip takes four minutes.
UV := .venv/bin/uv
UV_INSTALL := $(UV) pip install --quiet --python
COMPOSE := docker compose --file infra/containers/compose.yaml
PORT ?= 8000
# Documents with generated parts; cog runs the Python between [[[cog and ]]] and inserts what it prints.
DOCUMENTS := README.md lambda_app/README.md infra/score/README.md infra/bench/RESULTS.md
COG := $(BIN)/python -m cogapp --verbosity=1
GOLDEN := $(BIN)/python -m infra.smoke.golden
# Ten digits, another each minute: it names the version that a deployment publishes.
RELEASE ?= $(shell date -u +%y%m%d%H%M)
# Declared by ONNX Runtime and AnyIO, never imported when serving (tests/test_imports.py).
UNUSED := flatbuffers idna packaging protobuf
UV_LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --no-annotate --upgrade
# uv does not compile bytecode. Without this, a shell that forbids to write it lets every process recompile its imports.
export PYTHONDONTWRITEBYTECODE :=
# MLflow and DVC would report usage to their makers.
export DO_NOT_TRACK := 1
# MLflow puts these tags on every run that it starts.
ifdef ATTEMPT
export MLFLOW_RUN_CONTEXT := {"attempt": "$(ATTEMPT)"}
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Values of these come from a form on GitHub, in jobs that hold a deployment role. A shell would run what is in them, and so
# would make: they are checked as text, by make's own functions, before anything uses them.
SAFE := A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d e f g h i j k l m n o p q r s t u v w x y z \
	0 1 2 3 4 5 6 7 8 9 . / : @ _ -
# $(call without,CHARACTERS,TEXT): what is left of TEXT.
without = $(if $1,$(call without,$(wordlist 2,$(words $1),$1),$(subst $(firstword $1),,$2)),$2)
$(foreach name,CANARY COMMIT ENV IMAGE_URI VERSION,$(if $(call without,$(SAFE),$(value $(name))),\
	$(error $(name)=$(value $(name)): expected letters, digits and ./:@_- only)))
# $(call require,NAME,EXTENDED REGULAR EXPRESSION,EXPECTATION), of a name in the list above.
require = $(if $(shell printf '%s' '$($1)' | grep -Ex '$2'),,$(error $1=$($1): expected $3))
REQUIRE_COMMIT = $(call require,COMMIT,[0-9a-f]{40},all 40 digits of a commit)
REQUIRE_IMAGE_URI = $(call require,IMAGE_URI,[a-z0-9._/:-]+@sha256:[0-9a-f]{64},REPOSITORY@sha256:DIGEST)
REQUIRE_ENV = $(if $(filter dev prod,$(ENV)),,$(error ENV=$(ENV): expected dev or prod))

.DELETE_ON_ERROR:
.PHONY: help demo run check check-code check-tests test coverage system lint train suspects baselines attempts bench bench-input promote rollback dvc-pull dvc-push proposal proposal-patch apply-proposal results docs screenshot image compose-up compose-alert compose-down test-image on-main invoke sbom vulnerabilities smoke golden collect-feedback evaluate score monitor retraining deployed report baseline release-notes github-release push deploy preview back off on log-group notify bootstrap localstack lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 20

demo: .venv/.serve .venv-sam/.installed  ## classify PHOTO=… in Lambda's own runtime, print the answer, the log line and the times
	$(BIN)/python -m infra.emulator.demo "$(PHOTO)"

run: .venv/.serve .venv-sam/.installed  ## the same, and keep serving on http://127.0.0.1:8000 (PORT=…)
	$(BIN)/python -m infra.emulator.serve --port $(PORT)

# The two halves run side by side; each prints only what is wrong.
check: .venv/.check  ## lint all code, type-check and test lambda_app and infra, without PyTorch, in half a minute
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-code check-tests

check-code:
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary lambda_app infra

check-tests:
	$(BIN)/python -m pytest --fast --numprocesses 2 tests/lambda_app tests/infra

# More than two processes need more than the 6 GB of memory that these take.
test: lint  ## lint, type-check and run every test that this machine can run; print the coverage
	$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder --cov

coverage: .venv/.dev  ## write the coverage that the last `make test` measured to artifacts/coverage.json and the documents
	$(BIN)/python -m tests.support.coverage && $(COG) -r $(DOCUMENTS)

# GitHub's runners need SUDO=sudo, and bring Chrome.
PROGRAMS ?= chromium curl libheif-examples libtiff-tools nodejs prometheus prometheus-alertmanager
system:  ## from Debian, the programs that tests run for real (as root, or SUDO=sudo)
	$(SUDO) apt-get update --quiet --quiet
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends $(PROGRAMS)

lint: .venv/.dev .venv-sam/.installed .venv-audit/.installed
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(COG) --check $(DOCUMENTS)

train: .venv/.train .venv-sam/.installed  ## from photos (DATA=name, archive or folder; EXTRA=, OUTLIERS=more sets to score) to the released model
	$(BIN)/python -m training.fetch --data "$(DATA)" --weights "$(WEIGHTS)" --extra $(EXTRA) --outliers $(OUTLIERS)
	$(BIN)/dvc repro
	$(GOLDEN)

suspects: .venv/.train  ## photos whose label a network that never saw them doubts, as a list and a picture
	$(BIN)/python -m training.tools.suspects

promote: .venv/.train .venv-sam/.installed  ## the challenger serves, though it did not win
	$(BIN)/python -m export.release --promote
	$(BIN)/python -m export.card
	$(GOLDEN)
	$(BIN)/python -m export.reference

rollback: .venv/.train .venv-sam/.installed  ## the model that served before this one serves again
	$(BIN)/python -m export.release --rollback
	$(GOLDEN)
	$(BIN)/python -m export.reference

dvc-pull: .venv/.train  ## from DVC's storage: photos, and what earlier trainings left, as far as it is there
	$(BIN)/dvc pull --run-cache --allow-missing

dvc-push: .venv/.train  ## to DVC's storage: photos, and what trainings left
	$(BIN)/dvc push --run-cache

proposal: .venv/.serve  ## a new model's figures beside the last commit's, to artifacts/proposal.md, for a pull request
	$(BIN)/python -m infra.proposal

proposal-patch:  ## all that was changed, to artifacts/proposal.patch
	git add --all && git diff --cached --binary --output=artifacts/proposal.patch && git reset --quiet

apply-proposal:  ## change it here
	git apply artifacts/proposal.patch

baselines: .venv/.train  ## train eight networks alike (an hour at most) and rewrite their table in training/RESULTS.md
	$(BIN)/python -m training.tools.baselines

attempts: .venv/.train  ## rewrite the table of trainings that were tagged with ATTEMPT='what was tried'
	$(BIN)/python -m training.tools.attempts

bench-input: .venv/.train  ## is reading photos what training waits for? (ten idle minutes)
	$(BIN)/python -m training.tools.input_benchmark

bench: .venv/.train .venv-sam/.installed  ## the function against its peers, to artifacts/bench.json (half an idle hour; QUICK=1: ten minutes)
	$(BIN)/python -m infra.bench $(if $(QUICK),--quick)
	$(if $(QUICK),,$(BIN)/python -m infra.bench.growth)
	$(BIN)/python -m infra.bench.fleet
	$(BIN)/python -m infra.bench.batch
	$(COG) -r $(DOCUMENTS)

results: .venv/.check .venv-sam/.installed  ## ask the function for its API and an example answer, and rewrite the documents with them
	$(BIN)/python -m infra.documents
	$(COG) -r $(DOCUMENTS)

docs: .venv/.check  ## rewrite the generated parts of the documents from the figures in artifacts/
	$(COG) -r $(DOCUMENTS)

screenshot: .venv/.dev .venv-sam/.installed  ## take .github/page.png, the picture of the page in README (needs Chromium)
	$(BIN)/python -m tests.support.screenshot

# BUILDX_…: Lambda rejects the image index that attestations make. The platform: Apple silicon would build for itself, and the
# function would end in "exec format error".
PLATFORM := linux/amd64
image:  ## build the Lambda container image
	infra/emulator/base_image.sh
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform $(PLATFORM) -q -f Dockerfile.lambda -t $(IMAGE) \
		--build-arg COMMIT=$(shell git describe --always --abbrev=40 --exclude='*' --dirty) .

test-image: .venv/.dev .venv-sam/.installed  ## the container's tests, on IMAGE as it was built
	TEST_IMAGE="$(IMAGE)" $(BIN)/python -m pytest tests/infra/test_image.py tests/infra/smoke/test_container.py

on-main:  ## check that COMMIT=… is a commit of main, and that IMAGE_URI=… names an image by its digest
	$(REQUIRE_COMMIT)
	$(REQUIRE_IMAGE_URI)
	@git merge-base --is-ancestor "$(COMMIT)" origin/main || { echo "COMMIT=$(COMMIT): expected a commit of main"; exit 1; }

compose-up:  ## classifier, MLflow, Prometheus, Alertmanager, Grafana on ports 8000, 5000, 9090, 9093, 3000 (ALERT_URL_FILE=…)
	infra/emulator/base_image.sh
	$(COMPOSE) up --build --wait

compose-alert:  ## a trial alert, which has to reach you within a minute
	$(COMPOSE) exec -T alertmanager amtool --alertmanager.url=http://127.0.0.1:9093 alert add Trial severity=warning \
		--annotation='summary="A trial:"' --annotation='description="nothing is wrong."'

compose-down:  ## stop them; their volumes stay
	$(COMPOSE) down

invoke: .venv/.serve .venv-sam/.installed  ## ask the container for the class of PHOTO=…, through sam local
	infra/emulator/base_image.sh
	mkdir -p .aws-sam && $(BIN)/python -m infra.emulator.event "$(PHOTO)" > .aws-sam/event.json
	$(SAM) build
	$(SAM) local invoke Classifier --event .aws-sam/event.json

sbom: .venv-audit/.installed  ## what Python packages the image holds, as CycloneDX, to artifacts/sbom.cdx.json
	.venv-audit/bin/cyclonedx-py requirements requirements-serve.txt --sv 1.6 --output-reproducible \
		-o artifacts/sbom.cdx.json

# --strict: a package that the database does not know, or a database that does not answer, is no clean bill.
vulnerabilities: .venv-audit/.installed  ## known ones of the serving packages, from PyPI's database
	.venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		-r requirements-serve.txt -r infra/containers/server/requirements.txt

deployed: .venv/.serve  ## what ENV=dev or prod runs: image, commit, URL and who may call it, as NAME=VALUE lines
	@$(BIN)/python -m infra.deployed "$(ENV)"

release-notes:  ## what CHANGELOG.md says of VERSION=v1.2.3
	@$(PYTHON) -m infra.release_notes "$(VERSION)"

github-release:  ## VERSION=v1.2.3 on GitHub, with its notes, IMAGE_URI=… and the SBOM
	$(PYTHON) -m infra.release_notes "$(VERSION)" "$(IMAGE_URI)" > artifacts/release-notes.md
	gh release create "$(VERSION)" --verify-tag --title "$(VERSION)" --notes-file artifacts/release-notes.md \
		artifacts/sbom.cdx.json

# $(call option,NAME,name): --name "value" where NAME= is given.
option = $(if $($1),--$2 "$($1)")

smoke: .venv/.serve  ## check a live URL=… (ENV= compares settings; AUTH=, PROFILE=, VERSION=, COMMIT=, IMAGE_URI=, ORIGIN=, WAIT=, JSON=)
	@$(BIN)/python -m infra.smoke_test "$(URL)" $(call option,ENV,environment) $(call option,AUTH,auth) \
		$(call option,PROFILE,profile) $(call option,VERSION,version) $(call option,COMMIT,commit) $(call option,IMAGE_URI,image) \
		$(call option,ORIGIN,origin) $(call option,WAIT,wait) $(call option,JSON,json)

# Of `make collect-feedback` and `make evaluate`.
REPLAY := $(call option,AUTH,auth) $(call option,PROFILE,profile) $(call option,RATE,rate) $(call option,SHARE,share) \
	$(call option,DELAY,delay)
JOURNAL ?= artifacts/replay.jsonl

collect-feedback: .venv/.train  ## send DATA=photos to URL=…, one folder a class, and what they show as feedback (RATE=, SHARE=, DELAY=, JOURNAL=)
	@$(BIN)/python -m infra.collect_feedback "$(URL)" "$(DATA)" --output "$(JOURNAL)" $(REPLAY)

score: .venv/.train  ## photos of SOURCE=s3://… by the million: named to QUEUE=, gathered from RESULTS=s3://… into OUT=file.parquet (RETRY=1, GATHER=notified)
	@$(BIN)/python -m infra.score_s3 $(if $(GATHER),--gather "$(GATHER)","$(SOURCE)" --queue "$(QUEUE)") \
		--results "$(RESULTS)" $(call option,OUT,out) $(if $(RETRY),--retry)

evaluate: .venv/.train  ## accuracy and latency by what collect-feedback wrote, to artifacts/post_deploy.json (URL= and DATA= collect first)
	@$(BIN)/python -m infra.evaluate_post_deploy "$(JOURNAL)" $(call option,JSON,json) \
		$(if $(URL),--replay "$(URL)" "$(DATA)" $(REPLAY))

# The report's exit code 3, an alarm, is no failure here.
monitor: .venv/.train  ## the report of SOURCE=…, published (SINCE=); prints alarm= and retrain=, fails where there is no report
	@$(BIN)/python -m infra.report "$(SOURCE)" $(call option,SINCE,since) --publish --outputs || [ $$? = 3 ]

log-group: .venv/.serve  ## whether the log group SOURCE=… exists, as exists=true or exists=false
	@$(BIN)/python -m infra.aws.log_group "$(SOURCE)"

notify: .venv/.serve  ## tell the subscribers of TOPIC=… (SUBJECT=…) about the failed RUN=…
	@$(BIN)/python -m infra.aws.notify "$(TOPIC)" "$(SUBJECT)" "$(RUN)"

# What drifted in a week has drifted for a week: one retraining answers it.
retraining:  ## start the workflow Retrain, unless it was started in the last seven days
	@runs=$$(gh run list --workflow retrain.yml --created ">=$$(date -u -d '7 days ago' +%F)" --json databaseId --jq '.[]') \
		&& { [ -n "$$runs" ] || gh workflow run retrain.yml --ref main; }

# make itself answers 2 where a command fails: an alarm, the command's 3, is told by report.json and by the output.
report: .venv/.train  ## load, speed, accuracy and drift from the log SOURCE=group, file or - (SINCE=7d, OUT=folder, PUBLISH=1 to CloudWatch, SYNTHETIC=1)
	@$(BIN)/python -m infra.report "$(SOURCE)" $(call option,SINCE,since) $(call option,OUT,out) $(if $(PUBLISH),--publish) \
		$(if $(SYNTHETIC),--synthetic)

baseline: .venv/.train  ## SOURCE=… was good in that week (SINCE=7d): drift is judged by it, in artifacts/baseline.json, while its model serves
	@$(BIN)/python -m infra.report.baseline "$(SOURCE)" $(call option,SINCE,since)

golden: .venv/.serve .venv-sam/.installed  ## what the model that serves answers for the bundled photos, for the smoke test
	$(GOLDEN)

# Registries want lower case. A tag that is there already is this image, whose name it has: its digest will do.
push: LOWER = $(shell echo "$(REPOSITORY)" | tr A-Z a-z)
push:  ## IMAGE to REPOSITORY=…; prints REPOSITORY@sha256:DIGEST, as the registry has it
	$(if $(REPOSITORY),,$(error REPOSITORY is empty: expected the registry's repository, as the bootstrap stack names it))
	@id=$$(docker image inspect --format '{{slice .Id 7 19}}' "$(IMAGE)") && tag="$(LOWER):$$id" \
		&& docker tag "$(IMAGE)" "$$tag" && { docker push "$$tag" || docker pull "$$tag"; } >&2 \
		&& docker image inspect --format '{{join .RepoDigests "\n"}}' "$$tag" | grep -F "$(LOWER)@"

# --image-repository is asked for and not used: the image is there already. The defaults are passed, too: CloudFormation keeps
# the previous value of a parameter that is left out.
deploy: COMMIT ?= $(shell test -z "$$(git status --porcelain)" && git rev-parse HEAD)
deploy: .venv/.serve .venv-sam/.installed  ## IMAGE_URI=REPOSITORY@sha256:DIGEST to ENV=dev or prod (COMMIT=… if not that of a clean checkout; CANARY=AllAtOnce asks no alarm)
	$(REQUIRE_ENV)
	$(REQUIRE_IMAGE_URI)
	$(if $(COMMIT),,$(error COMMIT is empty: expected COMMIT=… or a checkout without changes))
	$(REQUIRE_COMMIT)
	previous=$$($(BIN)/python -m infra.aws.serving "$(ENV)") && \
	$(SAM) deploy --config-env "$(ENV)" --template-file template.yaml --image-repository "$(firstword $(subst @, ,$(IMAGE_URI)))" \
		--parameter-overrides file://infra/aws/defaults.yaml "file://infra/aws/$(ENV).yaml" \
		ImageUri="$(IMAGE_URI)" Commit="$(COMMIT)" Release="$(RELEASE)" PreviousVersion="$$previous" \
		$(if $(CANARY),Canary="$(CANARY)")

preview: .venv/.serve  ## what deploying IMAGE_URI=… of COMMIT=… to ENV= would change, as Markdown; changes nothing
	$(REQUIRE_ENV)
	$(REQUIRE_IMAGE_URI)
	$(REQUIRE_COMMIT)
	@$(BIN)/python -m infra.aws.preview "$(ENV)" --image "$(IMAGE_URI)" --commit "$(COMMIT)"

back: .venv/.serve  ## emergency: ENV= serves the version before the last deployment (VERSION=… another one), alias, image and stack
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws.emergency back "$(ENV)" $(call option,VERSION,version)

off: .venv/.serve  ## emergency: ENV= refuses all requests with 429, and its batch takes no messages
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws.emergency off "$(ENV)"

on: .venv/.serve  ## after `make off`: ENV= serves again
	$(REQUIRE_ENV)
	@$(BIN)/python -m infra.aws.emergency on "$(ENV)"

bootstrap: .venv-sam/.installed  ## once an account: identity, roles, repository, bucket, budget (GITHUB=OWNER/REPOSITORY EMAIL=…)
	$(SAM) deploy --config-file "$(CURDIR)/samconfig.toml" --config-env bootstrap --template-file infra/aws/bootstrap.yaml \
		--parameter-overrides GitHub="$(GITHUB)" Email="$(EMAIL)" $(BOOTSTRAP)

localstack: image .venv/.serve .venv-sam/.installed  ## the stack in LocalStack, and the function at work there (KEEP=1 leaves it running)
	$(BIN)/python -m infra.localstack $(if $(KEEP),--keep)

lock: | $(UV)  ## pin every requirements file anew from pyproject.toml
	$(UV_LOCK) --generate-hashes $(UNUSED:%=--no-emit-package=%) --group serve -o requirements-serve.txt pyproject.toml
	$(UV_LOCK) --group train -c requirements-serve.txt -o requirements-train.txt pyproject.toml
	$(UV_LOCK) --group dev -c requirements-train.txt -o requirements-dev.txt pyproject.toml
	$(UV_LOCK) --group check -c requirements-dev.txt -o requirements-check.txt pyproject.toml
	$(UV_LOCK) --group local -c requirements-dev.txt -o infra/emulator/requirements.txt pyproject.toml
	$(UV_LOCK) --generate-hashes --group server -c infra/emulator/requirements.txt -o infra/containers/server/requirements.txt pyproject.toml
	$(UV_LOCK) --group sam -o infra/emulator/requirements-sam.txt pyproject.toml
	$(UV_LOCK) --generate-hashes --group audit -o infra/aws/requirements-audit.txt pyproject.toml

clean:  ## remove the environments and the caches of the tools; photos, models and the store stay
	rm -rf .coverage* .venv .venv-sam .venv-audit .aws-sam .mypy_cache .pytest_cache .ruff_cache

$(UV):
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -qq --disable-pip-version-check uv==0.13.9

# --no-deps: the file is complete, and what ONNX Runtime declares but serving never imports is left out. Bytecode, as in the
# image: `make demo` times the first start.
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

# SAM CLI pins many packages tightly; with the audit tools it resolves only to versions of these from a year ago.
.venv-sam/.installed: infra/emulator/requirements-sam.txt | $(UV)
	$(UV) venv --quiet --clear --python .venv/bin/python .venv-sam
	$(UV_INSTALL) .venv-sam -r infra/emulator/requirements-sam.txt
	touch $@

.venv-audit/.installed: infra/aws/requirements-audit.txt | $(UV)
	$(UV) venv --quiet --clear --python .venv/bin/python .venv-audit
	$(UV_INSTALL) .venv-audit -r infra/aws/requirements-audit.txt
	touch $@
