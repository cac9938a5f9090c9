"""Lambda's entry point, and uvicorn's (`uvicorn lambda_app.handler:app`): built at import, once an instance."""

from mangum import Mangum

from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings

settings = Settings.from_env()
app = create_app(Classifier.load(settings.model_path), settings)

# Mangum would run lifespan events on every invocation, and there are none.
handler = Mangum(app, lifespan="off")
