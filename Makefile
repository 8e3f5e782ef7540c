# La puerta del proyecto. El grafo del informe vive en lib/neumo/report/graph.py; aquí solo está el entorno.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help report sweep test slow format lab ejercicios aula params bench lock sbom clean

PARAMS ?= params/demo.yaml
RUN ?=
SET ?=
PDF ?=
QUICK ?=
PYTHON ?= python3
# Se pasan por el entorno: así las comillas de SET llegan enteras.
export PARAMS RUN SET
# Corre el neumo de este proyecto, traiga lo que traiga el entorno.
unexport PYTHONPATH PYTHONSTARTUP PYTHONHOME

# Solo ruedas: instalar un paquete no ejecuta código suyo.
WHEELS := --only-binary :all:
CHECKSUM := $(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
# Dentro del entorno conda de environment.yml se usa ese; si no, uno propio en .venv.
ifeq ($(CONDA_DEFAULT_ENV),neumo)
ENV := $(CONDA_PREFIX)
else
ENV := .venv
endif
STAMP := $(ENV)/.neumo-$(CHECKSUM)
PY := $(ENV)/bin/python

help: ## Muestra esta ayuda
	@echo 'Informe: neumonía o normal en radiografías de tórax. Órdenes:'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo
	@echo 'Opciones de make report:'
	@echo '  PARAMS=params/kaggle.yaml   archivo de parámetros (por omisión, params/demo.yaml)'
	@echo '  RUN=nombre                  carpeta build/nombre (por omisión, el nombre del archivo)'
	@echo '  SET="clave=valor …"         cambios sueltos, por ejemplo SET="source=folder data_dir=mis_placas"'
	@echo '  PDF=1                       escribe también informe.pdf (hace falta Chromium)'

report: $(STAMP) ## Hace el informe: build/demo/informe.html
	@$(PY) -m neumo report --params "$$PARAMS" --run "$$RUN" --set "$$SET" $(if $(PDF),--pdf)

sweep: PARAMS = params/barrido.yaml
sweep: $(STAMP) ## Hace muchas ejecuciones y las compara: build/barrido/comparacion.html
	@$(PY) -m neumo sweep --params "$$PARAMS" --run "$$RUN" --set "$$SET"

test: $(STAMP) ## Comprueba el estilo y los tipos, y pasa las pruebas de todos los días
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m 'not slow'

slow: $(STAMP) ## Pasa las pruebas largas
	$(PY) -m pytest -q -m slow

format: $(STAMP) ## Da formato al código y a los cuadernos
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lab: $(STAMP) ## Abre los cuadernos en JupyterLab
	@# Sin el aviso de novedades, que pregunta a una página ajena.
	JUPYTER_CONFIG_PATH=docs/jupyter $(PY) -m jupyterlab --LabApp.default_url=/lab/tree/docs/inicio.ipynb

ejercicios: $(STAMP) ## Escribe los ejercicios: build/ejercicios/alumno y build/ejercicios/docente
	@$(PY) -m neumo ejercicios

aula: $(STAMP) ## Reúne lo que necesita una clase: build/aula.zip
	@$(PY) -m neumo aula --run "build/$${RUN:-demo}"

params: $(STAMP) ## Pone al día params/demo.yaml, las celdas de parámetros y la guía
	@$(PY) -m neumo params

bench: $(STAMP) ## Mide la velocidad frente a lo que se usaría en su lugar: docs/rendimiento.md
	$(PY) benchmarks/bench.py $(if $(QUICK),--quick) --set "$$SET"

lock: ## Recalcula requirements.lock (necesita uv y red)
	uv pip compile $(WHEELS) --universal --generate-hashes --python-version 3.11 --all-extras --no-header -q pyproject.toml -o requirements.lock

sbom: $(STAMP) ## Escribe build/sbom.json: la lista de materiales, en CycloneDX, con la huella de cada paquete
	@mkdir -p build
	@$(PY) -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible --of JSON \
		-o build/sbom.json requirements.lock

clean: ## Borra build/ (ejecuciones y caché); no toca las imágenes
	rm -rf build

# Un solo archivo de paquetes fijados con su huella; pip no admite `-e .` en la misma llamada que las huellas.
$(STAMP): requirements.lock pyproject.toml
	@if ! $(if $(filter .venv,$(ENV)),$(PYTHON),$(PY)) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then \
		echo 'Error: hace falta Python 3.11, 3.12 o 3.13; se encontró otro. Indíquelo: make PYTHON=python3.12 …' >&2; exit 1; fi
	@echo 'Preparando el entorno (solo la primera vez)…'
	@rm -f "$(ENV)"/.neumo-*
	@if command -v uv >/dev/null 2>&1; then \
		{ [ $(ENV) != .venv ] || [ -x $(PY) ] || uv venv -q --python $(PYTHON) .venv; } && \
		uv pip install -q --python $(PY) $(WHEELS) --require-hashes -r requirements.lock && \
		uv pip install -q --python $(PY) --no-deps --no-build-isolation -e .; \
	else \
		{ [ $(ENV) != .venv ] || [ -x $(PY) ] || $(PYTHON) -m venv .venv; } && \
		$(PY) -m pip install -q --disable-pip-version-check $(WHEELS) --require-hashes -r requirements.lock && \
		$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $@
